//! Real PostgreSQL servers, each with its own data directory, port and password.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::child;
use super::data::{Shape, as_server_user, copy_tree, give_to_server, installation, pristine};
use super::place::{self, Scratch};
use super::scram;
use super::tls::Certificates;

/// How long a server may take to start or to stop. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server shall be like. `Server::of(16).tls(Tls::Required).start()`.
pub struct Options {
    shape: Shape,
    settings: Vec<(String, String)>,
    tls: Tls,
    durable: bool,
}

/// Whether a server speaks TLS over TCP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// `ssl = on`; connections without TLS are let in as well.
    Offered,
    /// Connections without TLS are refused.
    Required,
    /// TLS, and a client certificate instead of a password.
    ClientCertificate,
}

impl Options {
    /// A setting for postgresql.conf.
    pub fn set(mut self, name: &str, value: &str) -> Options {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn tls(mut self, tls: Tls) -> Options {
        self.tls = tls;
        self
    }

    /// The cluster's encoding and locale; UTF8 and C.UTF-8 otherwise.
    pub fn locale(mut self, encoding: &str, locale: &str) -> Options {
        encoding.clone_into(&mut self.shape.encoding);
        locale.clone_into(&mut self.shape.locale);
        self
    }

    /// Keeps `fsync` on, which is off for speed otherwise.
    pub fn durable(mut self) -> Options {
        self.durable = true;
        self
    }

    pub fn start(self) -> Server {
        Server::create(self)
    }
}

/// The shutdown modes of the PostgreSQL manual, 18.5.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Waits for sessions to end by themselves.
    Smart,
    /// Ends sessions, then shuts down cleanly.
    Fast,
    /// Goes without a checkpoint; the next start recovers.
    Immediate,
}

/// A running server. Stopped, and its data removed, on drop.
pub struct Server {
    major: u32,
    durable: bool,
    port: u16,
    password: String,
    process: Option<Child>,
    certificates: Option<Certificates>,
    scratch: Scratch,
}

impl Server {
    /// A server of this major version with nothing special about it.
    pub fn start(major: u32) -> Server {
        Server::of(major).start()
    }

    pub fn of(major: u32) -> Options {
        Options {
            shape: Shape {
                major,
                encoding: "UTF8".to_owned(),
                locale: "C.UTF-8".to_owned(),
            },
            settings: Vec::new(),
            tls: Tls::Off,
            durable: false,
        }
    }

    fn create(options: Options) -> Server {
        let (pristine, first_password) = pristine(&options.shape);
        let mut server = Server::empty(options.shape.major, first_password);
        server.durable = options.durable;
        copy_tree(&pristine, &server.data_directory());
        server.configure(&options);
        server.launch_on_a_free_port();
        server.change_password();
        server
    }

    /// A running copy of a stopped server, with its data and password.
    pub fn twin(&self) -> Server {
        self.twin_after(|_| {})
    }

    /// As [`Server::twin`]; `prepare` gets the twin's data directory, which is empty.
    pub fn twin_after(&self, prepare: impl FnOnce(&Path)) -> Server {
        assert!(self.process.is_none(), "a running server is not copied");
        let mut twin = Server::empty(self.major, self.password.clone());
        twin.durable = self.durable;
        let data = twin.data_directory();
        fs::create_dir(&data).unwrap();
        prepare(&data);
        copy_tree(&self.data_directory().join("."), &data);
        let sockets = twin.socket_directory();
        // Of a setting that is there twice, the last counts.
        twin.append_settings(&[(
            "unix_socket_directories".to_owned(),
            sockets.display().to_string(),
        )]);
        twin.launch_on_a_free_port();
        twin
    }

    /// A copy of a stopped server that is not started, on a port of its own: a backup, or the snapshot of a machine.
    pub fn copied(&self) -> Server {
        assert!(self.process.is_none(), "a running server is not copied");
        let mut copy = Server::empty(self.major, self.password.clone());
        copy.port = free_port();
        copy.take_data_of(self);
        copy
    }

    /// Replaces its data by that of another server; neither is running. As when a machine is put back to its snapshot.
    pub fn take_data_of(&mut self, other: &Server) {
        let is_running = self.process.is_some() || other.process.is_some();
        assert!(!is_running, "a running server is not copied");
        let data = self.data_directory();
        if data.exists() {
            fs::remove_dir_all(&data).unwrap();
        }
        copy_tree(&other.data_directory(), &data);
        let sockets = self.socket_directory().display().to_string();
        // Of a setting that is there twice, the last counts.
        self.append_settings(&[("unix_socket_directories".to_owned(), sockets)]);
    }

    /// A server without data, not running.
    fn empty(major: u32, password: String) -> Server {
        let scratch = Scratch::new();
        let sockets = scratch.path().join("s");
        fs::create_dir(&sockets).unwrap();
        give_to_server(&sockets);
        Server {
            major,
            durable: true,
            port: 0,
            password,
            process: None,
            certificates: None,
            scratch,
        }
    }

    fn configure(&mut self, options: &Options) {
        let sockets = self.socket_directory();
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            (
                "unix_socket_directories".to_owned(),
                sockets.display().to_string(),
            ),
            // The default before 14 is md5.
            ("password_encryption".to_owned(), "scram-sha-256".to_owned()),
            ("log_line_prefix".to_owned(), "%m %d %u %a: ".to_owned()),
        ];
        if !options.durable {
            settings.push(("fsync".to_owned(), "off".to_owned()));
        }
        if options.tls != Tls::Off {
            settings.extend(self.enable_tls());
        }
        settings.extend(options.settings.iter().cloned());
        self.append_settings(&settings);
        let access = match options.tls {
            Tls::Off | Tls::Offered => "host all all 127.0.0.1/32 scram-sha-256",
            Tls::Required => "hostssl all all 127.0.0.1/32 scram-sha-256",
            Tls::ClientCertificate => "hostssl all all 127.0.0.1/32 cert",
        };
        let access = format!("local all all scram-sha-256\n{access}\n");
        fs::write(self.data_directory().join("pg_hba.conf"), access).unwrap();
    }

    fn append_settings(&self, settings: &[(String, String)]) {
        let mut file = File::options()
            .append(true)
            .open(self.data_directory().join("postgresql.conf"))
            .unwrap();
        for (name, value) in settings {
            writeln!(file, "{name} = '{}'", value.replace('\'', "''")).unwrap();
        }
    }

    fn enable_tls(&mut self) -> Vec<(String, String)> {
        let directory = self.scratch.path().join("tls");
        fs::create_dir(&directory).unwrap();
        let certificates = Certificates::generate(&directory);
        // PostgreSQL wants the key to be its own and closed to everybody else.
        let key = certificates.server_key();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        give_to_server(&key);
        let client_key = certificates.client_key();
        fs::set_permissions(client_key, fs::Permissions::from_mode(0o600)).unwrap();
        let settings = [
            ("ssl", "on".to_owned()),
            (
                "ssl_cert_file",
                certificates.server_certificate().display().to_string(),
            ),
            ("ssl_key_file", key.display().to_string()),
            (
                "ssl_ca_file",
                certificates.authority().display().to_string(),
            ),
        ];
        self.certificates = Some(certificates);
        settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Another process may take a port between our looking and the server's binding.
    fn launch_on_a_free_port(&mut self) {
        for _ in 0..10 {
            self.port = free_port();
            if self.launch().is_ok() {
                return;
            }
            if !self.log().contains("could not bind") {
                break;
            }
        }
        panic!("PostgreSQL {} does not start:\n{}", self.major, self.log());
    }

    /// Starts the server on its port and waits until it answers.
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests start servers of their own"
    )]
    fn launch(&mut self) -> Result<(), ()> {
        let log = File::create(self.log_file()).unwrap();
        let mut command = Command::new(installation(self.major).join("bin/postgres"));
        as_server_user(&mut command)
            .arg("-D")
            .arg(self.data_directory())
            .args(["-p", &self.port.to_string()])
            .current_dir(self.data_directory())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // A Ctrl-C on the tests' terminal is not for the server: it goes when the tests do.
            .process_group(0);
        let process = child::spawn(command, Signal::SIGQUIT).expect("postgres can be started");
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let process = self.process.as_mut().expect("it was started above");
            if process.try_wait().unwrap().is_some() {
                self.process = None;
                return Err(());
            }
            if self.try_psql("postgres", "SELECT 1").is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(())
    }

    /// Gives the superuser another password, with characters that each layer has to quote: every server has its own.
    pub fn change_password(&mut self) {
        let password = format!(r#"{} '"\:%="#, random_word("pw"));
        let stored = literal(&scram::verifier(&password));
        self.psql(
            "postgres",
            &format!("ALTER ROLE postgres PASSWORD {stored}"),
        );
        self.password = password;
    }

    pub fn major(&self) -> u32 {
        self.major
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether `fsync` is on.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// The password of the superuser `postgres`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The directory of the Unix-domain socket: what libpq takes as `host`.
    pub fn socket_directory(&self) -> PathBuf {
        self.scratch.path().join("s")
    }

    pub fn data_directory(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    pub fn certificates(&self) -> &Certificates {
        self.certificates
            .as_ref()
            .expect("a server with ssl = on has certificates")
    }

    /// libpq's environment for the superuser over the Unix-domain socket.
    pub fn environment(&self, database: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", self.socket_directory().display().to_string()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", "postgres".to_owned()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", database.to_owned()),
            ("PGCLIENTENCODING", "UTF8".to_owned()),
        ]
    }

    /// A client program of version 18, connected to the database.
    pub fn client(&self, program: &str, database: &str) -> Command {
        self.client_of(18, program, database)
    }

    /// A client program of this major version, connected to the database.
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests use clients of their own"
    )]
    pub fn client_of(&self, major: u32, program: &str, database: &str) -> Command {
        let mut command = Command::new(place::clients(major).join(program));
        command
            .envs(self.environment(database))
            .stdin(Stdio::null());
        command
    }

    /// Runs SQL with psql, stops at the first error; returns unaligned rows.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.client("psql", database);
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        run_with_input(psql, sql)
    }

    /// As [`Server::try_psql`]; an error fails the test.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|error| {
            panic!(
                "psql on {database:?} of the {} server: {error}\n{sql}",
                self.major
            )
        })
    }

    /// Whether the role can log in over TCP with the password.
    pub fn lets_in(&self, database: &str, role: &str, password: &str) -> bool {
        let mut psql = self.client("psql", database);
        psql.env("PGHOST", "127.0.0.1")
            .env("PGUSER", role)
            .env("PGPASSWORD", password)
            .args(["-XqAt", "-c", "SELECT 1"]);
        run_with_input(psql, "").is_ok()
    }

    /// Client sessions on the server, but for the one that asks.
    pub fn connections(&self) -> u32 {
        self.sessions().len() as u32
    }

    /// Which they are: each by its process and when it began.
    pub fn sessions(&self) -> BTreeSet<String> {
        // backend_type came with 10.
        let sessions = self.psql(
            "postgres",
            "SELECT pid, backend_start FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
        sessions.lines().map(str::to_owned).collect()
    }

    /// Sessions of clients that do not end within a while. A server takes its time to notice that a client is gone.
    pub fn connections_left(&self) -> u32 {
        for _ in 0..100 {
            if self.connections() == 0 {
                return 0;
            }
            sleep(Duration::from_millis(50));
        }
        self.connections()
    }

    /// What the server wrote to its log since it was last started.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.scratch.path().join("server.log")
    }

    /// Whether its main process lives: a server that cannot write to its WAL ends by itself.
    pub fn is_up(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    pub fn stop(&mut self, mode: Mode) {
        let signal = match mode {
            Mode::Smart => Signal::SIGTERM,
            Mode::Fast => Signal::SIGINT,
            Mode::Immediate => Signal::SIGQUIT,
        };
        self.end(signal);
    }

    /// Stops the server and starts it again on the same port.
    pub fn restart(&mut self, mode: Mode) {
        self.stop(mode);
        self.start_again();
    }

    /// Kills the postmaster as the kernel would; its children notice and end by themselves.
    pub fn kill9(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Starts a stopped or killed server on the same port.
    pub fn start_again(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // After kill9, backends hold the shared memory for a moment.
        while self.launch().is_err() {
            let log = self.log();
            assert!(
                Instant::now() < deadline && log.contains("shared memory"),
                "PostgreSQL {} does not start again:\n{log}",
                self.major
            );
            sleep(Duration::from_millis(100));
        }
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        child::send(&process, signal);
        let deadline = Instant::now() + PATIENCE;
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                process.kill().ok();
                process.wait().ok();
                panic!("PostgreSQL {} did not stop on {signal}", self.major);
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            child::send(&process, Signal::SIGQUIT);
            process.wait().ok();
        }
    }
}

/// A string constant, for SQL of the tests.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted identifier, for SQL of the tests.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A word that occurs nowhere else, so that a leak of it can be found.
pub fn random_word(prefix: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 12];
    use std::io::Read;
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .expect("random bytes");
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{}{hex}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Runs a program with text on its standard input; what it wrote, or what it complained about.
pub fn run_with_input(mut command: Command, input: &str) -> Result<String, String> {
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    let mut stdin = running.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // The program may stop reading after an error, which is expected here.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    let done = running.wait_with_output().unwrap();
    writer.join().unwrap();
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let output = String::from_utf8(done.stdout).expect("the client's encoding is UTF8");
    Ok(output.trim_end_matches('\n').to_owned())
}

/// A port on which no server answered a moment ago. Another process may take one between two looks.
pub fn free_port() -> u16 {
    let port = || {
        TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port()
    };
    let is_free = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_err();
    (0..10)
        .map(|_| port())
        .find(is_free)
        .expect("a port on which no server answers")
}
