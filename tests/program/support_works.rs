//! The tests' own tools do what they say: otherwise a test that passes would mean nothing.

use std::time::{Duration, Instant};

use crate::support::server::{Mode, Server, Tls, identifier, literal, run_with_input};
use crate::support::{compare, fill, proxy::Proxy};

fn starts(major: u32) {
    let mut server = Server::of(major).set("max_connections", "17").start();
    let version = server.psql("postgres", "SHOW server_version_num");
    assert_eq!(version.parse::<u32>().unwrap() / 10_000, major);
    assert_eq!(server.psql("postgres", "SHOW max_connections"), "17");
    assert_eq!(server.psql("postgres", "SHOW fsync"), "off");
    assert_eq!(server.connections_left(), 0);
    let password = server.password().to_owned();
    assert!(server.lets_in("postgres", "postgres", &password));
    assert!(!server.lets_in("postgres", "postgres", "wrong"));

    server.psql("postgres", "CREATE TABLE kept AS SELECT 1 AS i");
    for mode in [Mode::Smart, Mode::Fast, Mode::Immediate] {
        server.restart(mode);
    }
    server.kill9();
    assert!(server.try_psql("postgres", "SELECT 1").is_err());
    server.start_again();
    assert_eq!(server.psql("postgres", "SELECT i FROM kept"), "1");
}

#[test]
fn server_10_starts() {
    starts(10);
}

#[test]
fn server_12_starts() {
    starts(12);
}

#[test]
fn server_14_starts() {
    starts(14);
}

#[test]
fn server_15_starts() {
    starts(15);
}

#[test]
fn server_16_starts() {
    starts(16);
}

#[test]
fn server_17_starts() {
    starts(17);
}

#[test]
fn server_18_starts() {
    starts(18);
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let server = Server::of(18).durable().locale("LATIN1", "C").start();
    assert_eq!(server.psql("postgres", "SHOW fsync"), "on");
    assert_eq!(server.psql("postgres", "SHOW server_encoding"), "LATIN1");
    let (data, port) = (server.data_directory(), server.port());
    assert!(data.join("postmaster.pid").exists());
    // As a failed assertion in a test would.
    let panicked = std::thread::spawn(move || {
        let _server = server;
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.join().is_err());
    assert!(!data.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// Connects as libpq does with these settings; the 17 clients speak TLS.
fn connect_with_tls(server: &Server, settings: &[(&str, &str)]) -> Result<String, String> {
    let mut psql = server.client_of(17, "psql", "postgres");
    psql.env("PGHOST", "localhost")
        .envs(settings.iter().copied())
        .args(["-XAtc"])
        .arg("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    run_with_input(psql, "")
}

#[test]
fn tls_is_what_it_says() {
    for major in [10, 18] {
        let server = Server::of(major).tls(Tls::Required).start();
        let authority = server.certificates().authority().display().to_string();
        let with = |mode, host, root| {
            let settings = [
                ("PGSSLMODE", mode),
                ("PGHOST", host),
                ("PGSSLROOTCERT", root),
            ];
            connect_with_tls(&server, &settings)
        };
        assert_eq!(
            with("verify-full", "localhost", &authority),
            Ok("t".to_owned())
        );
        assert_eq!(
            with("verify-ca", "127.0.0.1", &authority),
            Ok("t".to_owned())
        );
        assert_eq!(
            with("require", "127.0.0.1", "/nonexistent"),
            Ok("t".to_owned())
        );
        let wrong_name = with("verify-full", "127.0.0.1", &authority).unwrap_err();
        assert!(
            wrong_name.contains("does not match host name"),
            "{wrong_name}"
        );
        let plain = with("disable", "127.0.0.1", &authority).unwrap_err();
        assert!(plain.contains("no pg_hba.conf entry"), "{plain}");
        let other = Server::of(major).tls(Tls::Offered).start();
        let stranger = other.certificates().authority().display().to_string();
        let unknown = with("verify-ca", "localhost", &stranger).unwrap_err();
        assert!(unknown.contains("certificate verify failed"), "{unknown}");
        let offered = connect_with_tls(&other, &[("PGSSLMODE", "disable")]);
        assert_eq!(offered, Ok("f".to_owned()));
    }
}

#[test]
fn a_client_certificate_replaces_the_password() {
    let server = Server::of(16).tls(Tls::ClientCertificate).start();
    let certificates = server.certificates();
    let certificate = certificates.client_certificate().display().to_string();
    let key = certificates.client_key().display().to_string();
    let shown = [
        ("PGSSLMODE", "require"),
        ("PGSSLCERT", certificate.as_str()),
        ("PGSSLKEY", key.as_str()),
        ("PGPASSWORD", "not asked for"),
    ];
    assert_eq!(connect_with_tls(&server, &shown), Ok("t".to_owned()));
    assert!(connect_with_tls(&server, &shown[..1]).is_err());
}

#[test]
fn the_proxy_delays_and_cuts() {
    let server = Server::start(16);
    let proxy = Proxy::to(server.port());
    let through = |sql: &str| {
        let mut psql = server.client("psql", "postgres");
        psql.env("PGHOST", "127.0.0.1")
            .env("PGPORT", proxy.port().to_string())
            .args(["-XAtc", sql]);
        let started = Instant::now();
        (run_with_input(psql, ""), started.elapsed())
    };
    assert_eq!(through("SELECT 1").0, Ok("1".to_owned()));
    proxy.set_delay(Duration::from_millis(100));
    let (answer, took) = through("SELECT 1");
    assert_eq!(answer, Ok("1".to_owned()));
    // Start-up, authentication in two round trips, the query: four at the least.
    assert!(took >= Duration::from_millis(800), "{took:?}");
    proxy.set_delay(Duration::ZERO);
    assert_eq!(proxy.accepted(), 2);

    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| through("SELECT pg_sleep(60)"));
        while server.connections() == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy.cut();
        let (answer, took) = sleeping.join().unwrap();
        assert!(
            answer.is_err() && took < Duration::from_secs(30),
            "{answer:?}"
        );
    });
    assert_eq!(through("SELECT 2").0, Ok("2".to_owned()));
}

/// The plain way: globals by psql, then pg_dump and pg_restore for each database, its properties last.
fn migrate_plainly(source: &Server, target: &Server, databases: &[String]) {
    let mut dump = source.client("pg_dumpall", "postgres");
    dump.arg("--globals-only");
    let globals = run_with_input(dump, "").unwrap();
    // Roles' settings in databases come below, when the databases are there.
    let statements = globals
        .lines()
        .filter(|line| !line.contains("ROLE postgres") && !line.contains(" IN DATABASE "));
    let statements: Vec<&str> = statements.collect();
    target.psql("postgres", &statements.join("\n"));
    for database in databases {
        let scratch = tempfile::tempdir().unwrap();
        let archive = scratch.path().join("archive");
        let mut dump = source.client("pg_dump", database);
        dump.arg("-Fc").arg("-f").arg(&archive);
        run_with_input(dump, "").unwrap();
        let properties = source.psql(
            "postgres",
            &format!(
                "SELECT format('ENCODING %L LC_COLLATE %L LC_CTYPE %L OWNER %I',
                    pg_encoding_to_char(encoding), datcollate, datctype, datdba::regrole::text)
                 FROM pg_database WHERE datname = {}",
                literal(database)
            ),
        );
        let name = identifier(database);
        target.psql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE template0 {properties}"),
        );
        let mut restore = target.client("pg_restore", "postgres");
        let quoted = database.replace('\\', r"\\").replace('\'', r"\'");
        restore
            .args(["--exit-on-error", "-d", &format!("dbname='{quoted}'")])
            .arg(&archive);
        run_with_input(restore, "").unwrap();
    }
}

fn finds_what_differs(from: u32, to: u32) {
    let (source, target) = (Server::start(from), Server::start(to));
    let filled = fill::everything(&source);
    migrate_plainly(&source, &target, &filled.databases);
    for database in &filled.databases {
        compare::assert_same(&source, &target, database);
    }
    // The plain way forgets these, and the comparison notices.
    let forgotten = compare::globals(&source, &target);
    assert!(
        forgotten
            .iter()
            .any(|line| line.starts_with("database shop"))
            && forgotten
                .iter()
                .any(|line| line.starts_with("setting of app_rw in shop"))
            && !forgotten.iter().any(|line| line.starts_with("role ")),
        "{forgotten:#?}"
    );
    for login in &filled.logins {
        target.psql(
            "postgres",
            &format!(
                "GRANT CONNECT ON DATABASE shop TO {}",
                identifier(&login.role)
            ),
        );
        assert!(target.lets_in("shop", &login.role, &login.password));
    }

    let mut before = Vec::new();
    for (change, expected) in [
        (
            "UPDATE cats SET lives = 8 WHERE name = 'tom'",
            "data of COPY sales.cats",
        ),
        ("SELECT nextval('downwards')", "data of sequences"),
        ("SELECT lo_put(70002, 0, 'x')", "data of large objects"),
        (
            "REFRESH MATERIALIZED VIEW never_refreshed",
            "materialized view sales.never_refreshed",
        ),
        (
            "ALTER TABLE cats ENABLE ROW LEVEL SECURITY",
            "object cats; Type: ROW SECURITY",
        ),
        (
            "DROP INDEX customers_recent",
            "object customers_recent; Type: INDEX",
        ),
        ("CREATE TABLE extra ()", "object extra; Type: TABLE"),
    ] {
        target.psql("shop", &format!("SET search_path = sales; {change}"));
        let after = compare::dumps(&source, &target, "shop");
        assert!(
            after
                .iter()
                .any(|line| line.starts_with(expected) && !before.contains(line)),
            "{change}: {after:#?}"
        );
        before = after;
    }
    target.psql("postgres", "ALTER ROLE app_rw PASSWORD 'another'");
    let changed = compare::globals(&source, &target);
    assert!(
        changed.iter().any(|line| line.starts_with("role app_rw")),
        "{changed:#?}"
    );
}

#[test]
fn the_comparison_finds_what_differs_from_10_to_18() {
    finds_what_differs(10, 18);
}

#[test]
fn the_comparison_finds_what_differs_from_16_to_18() {
    finds_what_differs(16, 18);
}
