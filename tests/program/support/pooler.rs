//! pgbouncer in front of a server.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::child;
use super::data::{as_server_user, give_to_server};
use super::place::{self, Scratch};
use super::server::{Server, free_port};

/// A running pgbouncer with one session per database on the server's side. Whoever comes is let in as `postgres`.
pub struct Pooler {
    port: u16,
    process: Child,
    _scratch: Scratch,
}

impl Pooler {
    /// `mode`: transaction or session. Nothing where there is no pgbouncer for this machine.
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests start programs of their own"
    )]
    pub fn before(server: &Server, mode: &str) -> Option<Pooler> {
        let tree = place::pgbouncer()?;
        let scratch = Scratch::new();
        let port = free_port();
        let file = scratch.path().join("pgbouncer.ini");
        let password = server.password().replace('\'', "''");
        let text = format!(
            "[databases]
* = host=127.0.0.1 port={} user=postgres password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 1
ignore_startup_parameters = extra_float_digits,options
",
            server.port()
        );
        fs::write(&file, text).unwrap();
        give_to_server(&file);
        let mut command = Command::new(tree.join("usr/sbin/pgbouncer"));
        as_server_user(&mut command)
            .arg(&file)
            .env("LD_LIBRARY_PATH", tree.join("usr/lib/x86_64-linux-gnu"))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let process = child::spawn(command, Signal::SIGKILL).expect("pgbouncer can be started");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not answer");
            sleep(Duration::from_millis(20));
        }
        Some(Pooler {
            port,
            process,
            _scratch: scratch,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What an application learns that asks over the pooler.
    pub fn ask(&self, server: &Server, database: &str, sql: &str) -> String {
        let done = server
            .client("psql", database)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
