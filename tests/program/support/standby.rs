//! Standbys that follow a primary, lag behind it, and take over.

use std::fs::{self, File};
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::server::{Mode, Server, literal};

/// How long a standby may take to replay what the primary wrote.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// A running standby of this server, which is restarted for it. From version 12 on.
    pub fn standby(&mut self) -> Server {
        self.standby_of("postgres")
    }

    /// The same, which connects as another role of this server.
    pub fn standby_of(&mut self, role: &str) -> Server {
        self.stop(Mode::Fast);
        let mut access = File::options()
            .append(true)
            .open(self.data_directory().join("pg_hba.conf"))
            .unwrap();
        writeln!(access, "local replication {role} trust").unwrap();
        let mut standby = self.copied();
        let data = standby.data_directory();
        fs::write(data.join("standby.signal"), "").unwrap();
        let primary = format!(
            "host={} port={} user={role}",
            self.socket_directory().display(),
            self.port()
        );
        let mut settings = File::options()
            .append(true)
            .open(data.join("postgresql.auto.conf"))
            .unwrap();
        writeln!(settings, "primary_conninfo = {}", literal(&primary)).unwrap();
        self.start_again();
        standby.start_again();
        standby.catch_up(self);
        standby
    }

    /// Waits until this standby has what the primary has now.
    pub fn catch_up(&self, primary: &Server) {
        let position = primary.psql("postgres", "SELECT pg_current_wal_flush_lsn()");
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
        let deadline = Instant::now() + PATIENCE;
        while self.psql("postgres", &sql) != "t" {
            assert!(
                Instant::now() < deadline,
                "the standby does not replay:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// This standby gets nothing more from here on, as behind a slow line. From version 13 on.
    pub fn stop_following(&self) {
        self.psql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
        self.psql("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + PATIENCE;
        while self.psql("postgres", "SELECT count(*) FROM pg_stat_wal_receiver") != "0" {
            assert!(Instant::now() < deadline, "the standby goes on following");
            sleep(Duration::from_millis(20));
        }
    }

    /// This standby takes over.
    pub fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote()"), "t");
        assert_eq!(self.psql("postgres", "SELECT pg_is_in_recovery()"), "f");
    }
}
