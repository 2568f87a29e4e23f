//! Tests of [`super::resolve`].

use std::collections::HashMap;
use std::error::Error as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// A machine with these variables, a home directory, and one command that answers.
#[derive(Clone)]
struct Machine {
    variables: HashMap<&'static str, String>,
    home: Arc<TempDir>,
    output: Result<&'static str, &'static str>,
}

impl Machine {
    fn new(variables: &[(&'static str, &str)]) -> Self {
        Machine {
            variables: variables.iter().map(|(k, v)| (*k, v.to_string())).collect(),
            home: Arc::new(tempfile::tempdir().unwrap()),
            output: Err("no command is expected"),
        }
    }

    fn with_file(self, name: &str, text: &str) -> Self {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }
}

impl Environment for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn home(&self) -> Option<PathBuf> {
        Some(self.home.path().to_owned())
    }

    async fn output_of(&self, command: &[String]) -> Result<Vec<u8>, Failure> {
        assert_eq!(command, ["vault", "read"]);
        Ok(self.output?.as_bytes().to_vec())
    }
}

fn server() -> Server {
    Server {
        side: Side::Source,
        service: None,
        host: None,
        port: None,
        user: None,
        database: None,
        password: None,
        sslmode: None,
        sslrootcert: None,
        sslcert: None,
        sslkey: None,
        sslcrl: None,
        min_tls: None,
        require_auth: None,
        channel_binding: None,
        connect_timeout: Duration::from_secs(10),
        max_connections: None,
        override_read_only: false,
    }
}

fn password(resolved: &Resolved) -> Option<String> {
    let password = resolved.endpoint.password.as_ref();
    password.map(|password| password.now().expose().to_owned())
}

/// The error and what it comes from, without this machine's paths.
fn shown(error: &EndpointError, machine: &Machine) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text.replace(&machine.home.path().display().to_string(), "HOME")
}

#[tokio::test]
async fn without_a_word_the_defaults_hold() {
    let resolved = resolve(&server(), &Machine::new(&[])).await.unwrap();
    let Endpoint {
        host,
        hostaddr,
        port,
        user,
        database,
        password,
        sslmode,
        sslrootcert,
        sslcert,
        sslkey,
        ..
    } = resolved.endpoint;
    assert_eq!((host.as_str(), hostaddr, port), ("localhost", None, 5432));
    assert_eq!((user.as_str(), database.as_str()), ("postgres", "postgres"));
    assert!(password.is_none());
    assert_eq!(sslmode, SslMode::Prefer);
    assert_eq!((sslrootcert, sslcert, sslkey), (None, None, None));
    assert!(resolved.warnings.is_empty());
}

#[tokio::test]
async fn the_plan_wins_over_the_service_and_the_service_over_the_defaults() {
    let machine = Machine::new(&[("OLD_USER", "admin")]).with_file(
        ".pg_service.conf",
        "[prod]\nhost=db.internal\nhostaddr=10.0.0.7\nport=5444\nuser=nobody\ndbname=maintenance\n\
         password=from service\nsslmode=verify-ca\nsslrootcert=/ca.pem\nconnect_timeout=10\n",
    );
    let mut server = server();
    server.service = Some("prod".into());
    server.user = Some(Value::Env("OLD_USER".into()));
    server.port = Some(Value::Literal(5555));
    let resolved = resolve(&server, &machine).await.unwrap();
    let endpoint = &resolved.endpoint;
    assert_eq!(endpoint.host, "db.internal");
    assert_eq!(endpoint.hostaddr, Some("10.0.0.7".parse().unwrap()));
    assert_eq!((endpoint.port, endpoint.user.as_str()), (5555, "admin"));
    assert_eq!(endpoint.database, "maintenance");
    assert_eq!(password(&resolved).as_deref(), Some("from service"));
    assert_eq!(endpoint.sslmode, SslMode::VerifyCa);
    assert_eq!(endpoint.sslrootcert, Some("/ca.pem".into()));
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);

    server.host = Some(Value::Literal("elsewhere".into()));
    let resolved = resolve(&server, &machine).await.unwrap();
    assert_eq!(resolved.endpoint.host, "elsewhere");
    assert_eq!(resolved.endpoint.hostaddr, None);
}

#[tokio::test]
async fn service_files_are_searched_in_order() {
    let machine = Machine::new(&[]).with_file("etc/pg_service.conf", "[a]\nhost=system\n");
    let mut machine = machine.with_file("named.conf", "[b]\nhost=named\n");
    let home = machine.home.path().to_owned();
    let path = |name: &str| home.join(name).display().to_string();
    machine.variables.insert("PGSYSCONFDIR", path("etc"));
    machine
        .variables
        .insert("PGSERVICEFILE", path("named.conf"));
    for (name, host) in [("a", "system"), ("b", "named")] {
        let mut server = server();
        server.service = Some(name.into());
        let resolved = resolve(&server, &machine).await.unwrap();
        assert_eq!(resolved.endpoint.host, host);
    }
    let mut server = server();
    server.service = Some("c".into());
    let error = resolve(&server, &machine).await.unwrap_err();
    insta::assert_snapshot!(shown(&error, &machine), @r#"there is no service "c" in HOME/named.conf or HOME/etc/pg_service.conf"#);

    machine
        .variables
        .insert("PGSERVICEFILE", path("missing.conf"));
    let error = resolve(&server, &machine).await.unwrap_err();
    insta::assert_snapshot!(shown(&error, &machine), @"cannot read the service file HOME/missing.conf: No such file or directory (os error 2)");
}

#[tokio::test]
async fn what_a_service_says_in_vain_is_told() {
    let machine = Machine::new(&[]).with_file(
        ".pg_service.conf",
        "[prod]\nkeepalives=1\nsslcrl=/crl.pem\nconnect_timeout=60\n",
    );
    let mut server = server();
    server.service = Some("prod".into());
    let resolved = resolve(&server, &machine).await.unwrap();
    let home = machine.home.path().display().to_string();
    let warnings = resolved.warnings.join("\n").replace(&home, "HOME");
    insta::assert_snapshot!(warnings, @r#"
    `keepalives` of the service "prod" (HOME/.pg_service.conf) is not used
    `connect_timeout` of the service "prod" (HOME/.pg_service.conf) is not used
    "#);
}

#[tokio::test]
async fn a_missing_variable_is_named_with_its_key() {
    let machine = Machine::new(&[("BAD_PORT", "http")]);
    let mut with_password = server();
    with_password.password = Some(PasswordSource::Env("OLD_DB_PASSWORD".into()));
    let error = resolve(&with_password, &machine).await.unwrap_err();
    insta::assert_snapshot!(error, @"`source.password` of the plan is the environment variable OLD_DB_PASSWORD, which is not set");

    let mut with_port = server();
    with_port.port = Some(Value::Env("BAD_PORT".into()));
    let error = resolve(&with_port, &machine).await.unwrap_err();
    insta::assert_snapshot!(error, @"the environment variable BAD_PORT does not give a port number (1 to 65535) for `port` of the source");
}

#[tokio::test]
async fn several_hosts_are_refused() {
    let mut server = server();
    server.host = Some(Value::Literal("a,b".into()));
    let error = resolve(&server, &Machine::new(&[])).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"`source.host` names several servers: "a,b""#);
}

#[tokio::test]
async fn passwords_come_from_where_the_plan_says() {
    let mut machine = Machine::new(&[("P", " with space \n")])
        .with_file("secret", "line one\r\nline two\n")
        .with_file("empty", "\n");
    machine.output = Ok("from vault\n");
    let file = |name: &str| Some(PasswordSource::File(machine.home.path().join(name)));
    let command = PasswordSource::Command(vec!["vault".into(), "read".into()]);
    let mut server = server();
    for (source, expected) in [
        (Some(PasswordSource::Env("P".into())), " with space \n"),
        (file("secret"), "line one"),
        (Some(command.clone()), "from vault"),
    ] {
        server.password = source;
        let resolved = resolve(&server, &machine).await.unwrap();
        assert_eq!(password(&resolved).as_deref(), Some(expected));
    }

    server.password = file("empty");
    let error = resolve(&server, &machine).await.unwrap_err();
    insta::assert_snapshot!(shown(&error, &machine), @"`source.password` of the plan cannot be used: an empty password from the file HOME/empty");
    let open = machine.home.path().join("secret");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    server.password = file("secret");
    let error = resolve(&server, &machine).await.unwrap_err();
    insta::assert_snapshot!(shown(&error, &machine), @"the file HOME/secret with the password of the source may be read by other users of this machine");
    server.password = file("missing");
    let error = resolve(&server, &machine).await.unwrap_err();
    insta::assert_snapshot!(shown(&error, &machine), @"cannot read the password of the source from HOME/missing: No such file or directory (os error 2)");

    machine.output = Err("vault ended with exit status 2: sealed");
    server.password = Some(command);
    let error = resolve(&server, &machine).await.unwrap_err();
    insta::assert_snapshot!(shown(&error, &machine), @"the command of `source.password` of the plan failed: vault ended with exit status 2: sealed");
}

#[tokio::test]
async fn the_password_file_is_the_last_resort() {
    let mut machine = Machine::new(&[])
        .with_file(".pgpass", "localhost:5432:postgres:postgres:from home\n")
        .with_file("other", "*:*:*:*:from other\n");
    let resolved = resolve(&server(), &machine).await.unwrap();
    assert_eq!(password(&resolved).as_deref(), Some("from home"));

    let other = machine.home.path().join("other");
    machine
        .variables
        .insert("PGPASSFILE", other.display().to_string());
    let resolved = resolve(&server(), &machine).await.unwrap();
    assert_eq!(password(&resolved).as_deref(), Some("from other"));

    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    let resolved = resolve(&server(), &machine).await.unwrap();
    assert_eq!(password(&resolved).as_deref(), None);
    assert_eq!(resolved.warnings.len(), 1);
}

#[tokio::test]
async fn certificates_are_found_where_libpq_finds_them() {
    let machine = Machine::new(&[])
        .with_file(".postgresql/root.crt", "")
        .with_file(".postgresql/postgresql.crt", "");
    let own = |name: &str| Some(machine.home.path().join(".postgresql").join(name));
    for (mode, root, certificate, key) in [
        (SslMode::Disable, None, None, None),
        (
            SslMode::Prefer,
            None,
            own("postgresql.crt"),
            own("postgresql.key"),
        ),
        (
            SslMode::VerifyFull,
            own("root.crt"),
            own("postgresql.crt"),
            own("postgresql.key"),
        ),
    ] {
        let mut server = server();
        server.sslmode = Some(mode);
        let endpoint = resolve(&server, &machine).await.unwrap().endpoint;
        let found = (endpoint.sslrootcert, endpoint.sslcert, endpoint.sslkey);
        assert_eq!(found, (root, certificate, key), "{mode:?}");
    }
}
