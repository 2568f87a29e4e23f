//! What protects the connections to a server: the same settings for psql and for pg-migrate, and the same answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::support::data::give_to_server;
use crate::support::place::{self, Scratch};
use crate::support::project::{Project, string};
use crate::support::server::{Server, Tls};

const PASSWORD: &str = "of the clients";

/// Who may come in how: each role is named after what the server asks it for.
const ACCESS: &str = "\
local all all scram-sha-256
hostssl all scram_by_tls 127.0.0.1/32 scram-sha-256
hostnossl all scram_in_clear 127.0.0.1/32 scram-sha-256
host all trust 127.0.0.1/32 trust
host all password 127.0.0.1/32 password
host all md5 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
";

/// A server with these roles.
fn server(tls: Tls) -> Server {
    let server = Server::of(16).tls(tls).start();
    server.psql(
        "postgres",
        &format!(
            "CREATE ROLE trust LOGIN;
             CREATE ROLE password LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE scram LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE scram_by_tls LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE scram_in_clear LOGIN PASSWORD '{PASSWORD}';
             SET password_encryption = md5;
             CREATE ROLE md5 LOGIN PASSWORD '{PASSWORD}'"
        ),
    );
    fs::write(server.data_directory().join("pg_hba.conf"), ACCESS).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    until("the new pg_hba.conf", || {
        server.lets_in("postgres", "trust", "")
    });
    server
}

/// Waits for what the server does by itself.
fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..300 {
        if condition() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} does not come");
}

/// One connection: a host name, a role, and libpq's settings.
#[derive(Clone)]
struct Row {
    host: &'static str,
    role: &'static str,
    settings: Vec<(&'static str, String)>,
}

impl Row {
    fn new(role: &'static str, settings: &[(&'static str, &str)]) -> Row {
        let settings = settings
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()));
        Row {
            host: "localhost",
            role,
            settings: settings.collect(),
        }
    }

    fn at(self, host: &'static str) -> Row {
        Row { host, ..self }
    }

    fn file(mut self, key: &'static str, path: &Path) -> Row {
        self.settings.push((key, path.display().to_string()));
        self
    }

    fn shown(&self) -> String {
        let settings = self.settings.iter().map(|(key, value)| {
            let value = Path::new(value).file_name().unwrap_or_default();
            format!(" {key}={}", value.display())
        });
        format!(
            "{}@{}{}",
            self.role,
            self.host,
            settings.collect::<String>()
        )
    }

    /// Whether psql gets in.
    fn psql(&self, server: &Server) -> bool {
        // The other clients were built without TLS.
        let mut psql = server.client_of(17, "psql", "postgres");
        let settings = self
            .settings
            .iter()
            .map(|(key, value)| format!(" {key}='{value}'"));
        let conninfo = format!(
            "host={} port={} user={} dbname=postgres{}",
            self.host,
            server.port(),
            self.role,
            settings.collect::<String>()
        );
        psql.env("PGPASSWORD", PASSWORD)
            .args(["--no-psqlrc", "-c", "SELECT 1", &conninfo]);
        psql.output().unwrap().status.success()
    }

    /// Whether pg-migrate gets in, and what it says.
    fn ours(&self, server: &Server, target: &Server) -> (bool, String) {
        let mut project = Project::between(server, target)
            .source("host", &string(self.host))
            .source("user", &string(self.role))
            .variable("SOURCE_PASSWORD", PASSWORD)
            .clients(17);
        for (key, value) in &self.settings {
            project = project.source(key, &string(value));
        }
        let said = project.run(&["check"]).said();
        (!said.contains("cannot connect"), said)
    }
}

/// Compares both programs row by row. `stricter`: rows that psql accepts and pg-migrate does not, with the reason in its words.
fn compare(server: &Server, rows: &[Row], stricter: &[(&str, &str)]) {
    let target = Server::start(16);
    let mut wrong = Vec::new();
    for row in rows {
        let shown = row.shown();
        let (psql, (ours, said)) = (row.psql(server), row.ours(server, &target));
        let reason = stricter.iter().find(|(known, _)| *known == shown);
        let is_right = match reason {
            None => psql == ours,
            Some((_, reason)) => psql && !ours && said.contains(reason),
        };
        if !is_right {
            let said: String = said.chars().take(400).collect();
            wrong.push(format!("{shown}: psql {psql}, pg-migrate {ours}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

const IN_CLEAR: &str = "asks for the password in clear";

#[test]
fn what_a_server_may_ask_for_is_what_psql_answers() {
    let server = server(Tls::Offered);
    let roles = [
        "trust",
        "password",
        "md5",
        "scram",
        "scram_by_tls",
        "scram_in_clear",
    ];
    let mut rows = Vec::new();
    for role in roles {
        for sslmode in ["disable", "allow", "prefer", "require"] {
            rows.push(Row::new(role, &[("sslmode", sslmode)]));
        }
        for require_auth in [
            "scram-sha-256",
            "password,md5",
            "!password,!md5",
            "none",
            "!none",
        ] {
            rows.push(Row::new(
                role,
                &[("sslmode", "require"), ("require_auth", require_auth)],
            ));
        }
        for binding in ["disable", "require"] {
            rows.push(Row::new(
                role,
                &[("sslmode", "prefer"), ("channel_binding", binding)],
            ));
        }
    }
    for sslmode in ["disable", "prefer"] {
        rows.push(Row::new(
            "password",
            &[("sslmode", sslmode), ("require_auth", "password")],
        ));
        rows.push(Row::new(
            "scram",
            &[("sslmode", sslmode), ("require_auth", "scram-sha-256")],
        ));
    }
    rows.push(Row::new(
        "scram",
        &[
            ("ssl_min_protocol_version", "TLSv1.3"),
            ("sslmode", "require"),
        ],
    ));
    assert!(rows.len() >= 60);
    compare(
        &server,
        &rows,
        &[
            ("password@localhost sslmode=disable", IN_CLEAR),
            ("password@localhost sslmode=allow", IN_CLEAR),
            ("password@localhost sslmode=prefer", IN_CLEAR),
            (
                "password@localhost sslmode=prefer channel_binding=disable",
                IN_CLEAR,
            ),
        ],
    );
}

/// A certificate authority, and what it signed and took back.
struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(directory.join(format!("{name}.pem")), issuer.pem()).unwrap();
        Authority {
            directory: directory.to_owned(),
            issuer,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A server's certificate and key, which it can read.
    fn sign(&self, name: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        let file = self.file(&format!("{name}.key"));
        fs::write(&file, key.serialize_pem()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        give_to_server(&file);
    }

    /// A list of revoked certificates that holds until that year.
    fn revoke(&self, name: &str, serials: &[u64], until: i32) {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 2),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        fs::write(self.file(name), list.pem().unwrap()).unwrap();
    }
}

#[test]
fn certificates_are_looked_at_as_psql_does() {
    let server = server(Tls::Offered);
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    authority.sign("good", 1, |_| {});
    authority.sign("other", 2, |params| {
        *params = CertificateParams::new(vec!["db.example.com".to_owned()]).unwrap();
    });
    authority.sign("expired", 3, |params| {
        params.not_after = date_time_ymd(2021, 1, 1)
    });
    authority.sign("revoked", 4, |_| {});
    authority.sign("unnamed", 5, |params| {
        params.subject_alt_names.clear();
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
    });
    authority.revoke("crl.pem", &[4], 2200);
    authority.revoke("old-crl.pem", &[4], 2021);
    let stranger = Authority::new(scratch.path(), "stranger");
    for name in ["good", "other", "expired", "revoked", "unnamed"] {
        let [certificate, key] = ["pem", "key"].map(|end| {
            authority
                .file(&format!("{name}.{end}"))
                .display()
                .to_string()
        });
        server.psql(
            "postgres",
            &format!("ALTER SYSTEM SET ssl_cert_file = '{certificate}'"),
        );
        server.psql(
            "postgres",
            &format!("ALTER SYSTEM SET ssl_key_file = '{key}'"),
        );
        server.psql("postgres", "SELECT pg_reload_conf()");
        // A new session has what its parent has, which encrypts the next ones.
        until("the new certificate", || {
            server.psql("postgres", "SHOW ssl_key_file") == key
        });
        let mut rows = Vec::new();
        for sslmode in ["require", "verify-ca", "verify-full"] {
            let row = Row::new("scram", &[("sslmode", sslmode)]);
            rows.push(row.clone().file("sslrootcert", &authority.file("ca.pem")));
            rows.push(
                row.clone()
                    .file("sslrootcert", &authority.file("ca.pem"))
                    .at("127.0.0.1"),
            );
            rows.push(
                row.clone()
                    .file("sslrootcert", &stranger.file("stranger.pem")),
            );
            for list in ["crl.pem", "old-crl.pem"] {
                let row = row.clone().file("sslrootcert", &authority.file("ca.pem"));
                rows.push(row.file("sslcrl", &authority.file(list)));
            }
        }
        rows.push(Row::new(
            "scram",
            &[("sslmode", "require"), ("channel_binding", "require")],
        ));
        let stricter: &[(&str, &str)] = match name {
            // Only a common name.
            "unnamed" => &[
                (
                    "scram@localhost sslmode=verify-full sslrootcert=ca.pem",
                    "only subjectAltName counts",
                ),
                (
                    "scram@localhost sslmode=verify-full sslrootcert=ca.pem sslcrl=crl.pem",
                    "only subjectAltName counts",
                ),
            ],
            _ => &[],
        };
        compare(&server, &rows, stricter);
    }
}

/// libpq of this version knows these, and each is used, refused or told as not used. What a newer one adds is to be decided on here.
const KEYS: &[(&str, &str, Use)] = &[
    ("service", "PGSERVICE", Use::Own),
    ("user", "PGUSER", Use::Own),
    ("password", "PGPASSWORD", Use::Own),
    ("passfile", "PGPASSFILE", Use::Own),
    (
        "channel_binding",
        "PGCHANNELBINDING",
        Use::Protects("require"),
    ),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Use::Own),
    ("dbname", "PGDATABASE", Use::Own),
    ("host", "PGHOST", Use::Own),
    ("hostaddr", "PGHOSTADDR", Use::Own),
    ("port", "PGPORT", Use::Own),
    ("client_encoding", "PGCLIENTENCODING", Use::Ignored),
    ("options", "PGOPTIONS", Use::Ignored),
    ("application_name", "PGAPPNAME", Use::Ignored),
    ("fallback_application_name", "", Use::Ignored),
    ("keepalives", "", Use::Ignored),
    ("keepalives_idle", "", Use::Ignored),
    ("keepalives_interval", "", Use::Ignored),
    ("keepalives_count", "", Use::Ignored),
    ("tcp_user_timeout", "", Use::Ignored),
    ("sslmode", "PGSSLMODE", Use::Protects("verify-full")),
    ("sslnegotiation", "PGSSLNEGOTIATION", Use::Refused("direct")),
    ("sslcompression", "PGSSLCOMPRESSION", Use::Ignored),
    ("sslcert", "PGSSLCERT", Use::Own),
    ("sslkey", "PGSSLKEY", Use::Own),
    ("sslcertmode", "PGSSLCERTMODE", Use::Refused("require")),
    ("sslpassword", "", Use::Ignored),
    ("sslrootcert", "PGSSLROOTCERT", Use::Own),
    ("sslcrl", "PGSSLCRL", Use::Own),
    ("sslcrldir", "PGSSLCRLDIR", Use::Refused("/etc/crls")),
    ("sslsni", "PGSSLSNI", Use::Ignored),
    ("requirepeer", "PGREQUIREPEER", Use::Refused("postgres")),
    ("require_auth", "PGREQUIREAUTH", Use::Protects("gss")),
    (
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        Use::Refused("3.2"),
    ),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", Use::Ignored),
    (
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        Use::Own,
    ),
    (
        "ssl_max_protocol_version",
        "PGSSLMAXPROTOCOLVERSION",
        Use::Ignored,
    ),
    ("gssencmode", "PGGSSENCMODE", Use::Refused("require")),
    ("krbsrvname", "PGKRBSRVNAME", Use::Ignored),
    ("gsslib", "PGGSSLIB", Use::Ignored),
    ("gssdelegation", "PGGSSDELEGATION", Use::Ignored),
    ("replication", "", Use::Ignored),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Use::Ignored),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", Use::Ignored),
    ("scram_client_key", "", Use::Ignored),
    ("scram_server_key", "", Use::Ignored),
    ("oauth_issuer", "", Use::Ignored),
    ("oauth_client_id", "", Use::Ignored),
    ("oauth_client_secret", "", Use::Ignored),
    ("oauth_scope", "", Use::Ignored),
    ("sslkeylogfile", "", Use::Ignored),
];

#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// pg-migrate has it, or the plan says it.
    Own,
    /// It keeps a connection without TLS, with a password, from being made where it has this value.
    Protects(&'static str),
    /// It protects, and is refused with this value.
    Refused(&'static str),
    /// It protects nothing. A service's is told as not used.
    Ignored,
}

/// Asks libpq itself.
#[expect(clippy::disallowed_methods, reason = "libpq is asked by way of Python")]
fn known_to_libpq() -> Vec<(String, String)> {
    const ASK: &str = "
import ctypes, glob, sys
class Option(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ('keyword', 'envvar', 'compiled', 'val', 'label', 'dispchar')] + [('dispsize', ctypes.c_int)]
libpq = ctypes.CDLL(sorted(glob.glob(sys.argv[1] + '/**/libpq.so.5*', recursive=True))[0])
libpq.PQconndefaults.restype = ctypes.POINTER(Option)
options = libpq.PQconndefaults()
index = 0
while options[index].keyword:
    print(options[index].keyword.decode(), (options[index].envvar or b'').decode(), sep='|')
    index += 1
";
    let clients = place::clients(18);
    let mut python = std::process::Command::new("python3");
    python.args(["-c", ASK]).arg(clients.parent().unwrap());
    let output = python.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('|'));
    pairs
        .map(|(key, variable)| (key.to_owned(), variable.to_owned()))
        .collect()
}

#[test]
fn every_setting_of_libpq_is_used_refused_or_harmless() {
    for (key, variable) in known_to_libpq() {
        // Those for the tests of libpq itself.
        if key.starts_with("authtype") {
            continue;
        }
        let known = KEYS.iter().find(|(known, _, _)| *known == key);
        let Some((_, of_table, _)) = known else {
            panic!("{key} ({variable}) is new: say in KEYS what becomes of it");
        };
        assert_eq!(variable, *of_table, "{key}");
    }
    let (source, target) = (Server::start(16), Server::start(18));
    let scratch = Scratch::new();
    let file = scratch.path().join("services.conf");
    for (key, variable, usage) in KEYS {
        let (value, is_refused) = match usage {
            Use::Own => continue,
            Use::Protects(value) => (*value, false),
            Use::Refused(value) => (*value, true),
            Use::Ignored => ("0", false),
        };
        let service = format!(
            "[old]\nhost=127.0.0.1\nport={}\n{key}={value}\n",
            source.port()
        );
        fs::write(&file, service).unwrap();
        let by_service = Project::between(&source, &target)
            .without_source("host")
            .without_source("port")
            .source("service", "\"old\"")
            .variable("PGSERVICEFILE", file.display().to_string())
            .run(&["check"]);
        let by_variable = Project::between(&source, &target)
            .variable(variable, value)
            .run(&["check"]);
        for finished in [
            Some(by_service),
            (!variable.is_empty()).then_some(by_variable),
        ] {
            let Some(finished) = finished else { continue };
            let said = finished.said();
            match usage {
                Use::Refused(_) => {
                    assert!(is_refused && finished.code == Some(2), "{key}: {said}");
                    assert!(said.contains(key), "{key}: {said}");
                }
                Use::Protects(_) => assert!(
                    said.contains("cannot connect") || finished.code == Some(2),
                    "{key}: {said}"
                ),
                _ => assert!(finished.code != Some(2), "{key}: {said}"),
            }
        }
    }
}

#[test]
fn check_says_how_each_side_is_protected() {
    let source = server(Tls::Offered);
    let target = Server::start(18);
    let said = Project::between(&source, &target).run(&["check"]).said();
    let port = source.port();
    let expected = format!(
        "source server 127.0.0.1:{port}: TLSv1.3, certificate not verified; authenticated by scram-sha-256 with channel binding"
    );
    assert!(said.contains(&expected), "{said}");
    let port = target.port();
    let expected =
        format!("target server 127.0.0.1:{port}: not encrypted; authenticated by scram-sha-256");
    assert!(said.contains(&expected), "{said}");
}

/// A key that other users may read is theirs as well.
#[test]
fn a_key_that_others_may_read_is_refused() {
    let source = Server::of(16).tls(Tls::ClientCertificate).start();
    let target = Server::start(18);
    let files = source.certificates();
    let copy = Scratch::new();
    let key = copy.path().join("client.key");
    fs::copy(files.client_key(), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let project = Project::between(&source, &target)
        .source("sslmode", "\"require\"")
        .source(
            "sslcert",
            &string(&files.client_certificate().display().to_string()),
        )
        .source("sslkey", &string(&key.display().to_string()));
    let told = project.run(&["check"]);
    told.says(&["other users may read sslkey of the source", "chmod 0600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let said = project.run(&["check"]).said();
    assert!(!said.contains("cannot connect"), "{said}");
}
