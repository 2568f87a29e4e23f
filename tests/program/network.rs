//! Somebody stands between the program and a server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustls::server::ServerConnection;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::project::{Project, string};
use crate::support::server::{Server, Tls};

/// Made by `openssl x509 -req` without extensions: of version 1, as many servers have them.
const OLD_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBGDCBvwIUFBV1jQphaesojkow0mWExh2d1pkwCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEyNzAzNTMxM1oYDzIxMjYxMTAzMDM1MzEzWjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARcNVlxKtrF06MQ
TyQI8RFwOHHWbZwsyvoDA6LLxzx6Zvw3XchMjsfqHb7uHqGsKRpuTsTB3nfXjXyd
qwzFPYiGMAoGCCqGSM49BAMCA0gAMEUCIQC1j6m8x3SVg6qegPB3LAQQuuPXmFZr
c7CLBYdcsJpzIAIgTz7LyZ6zl6MFHFaq9Krn8kUrrT4CQxjsgzH2uNDsogc=
-----END CERTIFICATE-----
";

const OLD_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg44Meonns0BoOUme0
pUPs+rfHOUlYGfE0vwZFbVaLg4qhRANCAARcNVlxKtrF06MQTyQI8RFwOHHWbZws
yvoDA6LLxzx6Zvw3XchMjsfqHb7uHqGsKRpuTsTB3nfXjXydqwzFPYiG
-----END PRIVATE KEY-----
";

/// Answers in a server's place with this certificate and key, until the connection is encrypted.
struct Impostor {
    port: u16,
    answered: thread::JoinHandle<bool>,
}

impl Impostor {
    fn with(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        version: &'static SupportedProtocolVersion,
    ) -> Impostor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(config);
        let answered = thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            is_believed(client, config)
        });
        Impostor { port, answered }
    }

    /// Whether the client went on after it had seen what the impostor shows.
    fn was_believed(self) -> bool {
        self.answered.join().unwrap()
    }
}

/// The client's part of the handshake ends with its `Finished`, which it sends after it verified the server's.
fn is_believed(mut client: TcpStream, config: Arc<ServerConfig>) -> bool {
    let mut request = [0; 8];
    client.read_exact(&mut request).unwrap();
    assert_eq!(request[4..], [0x04, 0xd2, 0x16, 0x2f], "an SSLRequest");
    client.write_all(b"S").unwrap();
    let mut tls = ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        if tls.complete_io(&mut client).is_err() {
            return false;
        }
    }
    true
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn stranger_s_key() -> PrivateKeyDer<'static> {
    let key = rcgen::KeyPair::generate().unwrap();
    PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap()
}

/// What `check` says with this source, and whether it believed the source.
fn check(server: &Server, impostor: Impostor) -> (String, bool) {
    let project = Project::between(server, server)
        .source("host", "\"127.0.0.1\"")
        .source("port", &impostor.port.to_string())
        .source("sslmode", &string("require"));
    let finished = project.run(&["check"]);
    assert_ne!(finished.code, Some(0), "{}", finished.said());
    (finished.said(), impostor.was_believed())
}

/// SCRAM's channel binding is to the server's certificate, which is public: whoever shows it has to have its key.
#[test]
fn who_shows_the_certificate_of_a_server_without_its_key_is_refused() {
    let server = Server::of(16).tls(Tls::Required).start();
    let shown = certificate(&server.certificates().server_certificate());
    let old = CertificateDer::from_pem_slice(OLD_CERTIFICATE.as_bytes()).unwrap();
    for version in [&version::TLS12, &version::TLS13] {
        for certificate in [&shown, &old] {
            let impostor = Impostor::with(certificate.clone(), stranger_s_key(), version);
            let (said, is_believed) = check(&server, impostor);
            assert!(!is_believed, "{version:?}: {said}");
            assert!(said.contains("source") && said.contains("TLS"), "{said}");
        }
    }
}

#[test]
fn a_certificate_that_nobody_signed_is_enough_with_its_key() {
    let server = Server::of(16).tls(Tls::Required).start();
    let files = server.certificates();
    let key = PrivateKeyDer::from_pem_file(files.server_key()).unwrap();
    let old = CertificateDer::from_pem_slice(OLD_CERTIFICATE.as_bytes()).unwrap();
    let old_key = PrivateKeyDer::from_pem_slice(OLD_KEY.as_bytes()).unwrap();
    for version in [&version::TLS12, &version::TLS13] {
        for (certificate, key) in [
            (certificate(&files.server_certificate()), &key),
            (old.clone(), &old_key),
        ] {
            let impostor = Impostor::with(certificate, key.clone_key(), version);
            let (said, is_believed) = check(&server, impostor);
            assert!(is_believed, "{version:?}: {said}");
        }
    }
}

/// Answers in a server's place that it has no TLS, whatever the server has, and asks for the password as it is.
struct Stripper {
    port: u16,
    has_password: Arc<AtomicBool>,
}

impl Stripper {
    fn start() -> Stripper {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let has_password = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_password);
        // It ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming() {
                if gets_password(client.unwrap()).unwrap_or(false) {
                    told.store(true, Ordering::SeqCst);
                }
            }
        });
        Stripper { port, has_password }
    }

    /// Whether somebody sent it one since it was asked last.
    fn has_password(&self) -> bool {
        self.has_password.swap(false, Ordering::SeqCst)
    }
}

/// Plays the server up to the client's answer (PostgreSQL manual, "Message Flow").
fn gets_password(mut client: TcpStream) -> std::io::Result<bool> {
    loop {
        let mut start = [0; 8];
        client.read_exact(&mut start)?;
        let length = u32::from_be_bytes(start[..4].try_into().unwrap());
        // SSLRequest and GSSENCRequest.
        if matches!(start[4..], [0x04, 0xd2, 0x16, 0x2f | 0x30]) {
            client.write_all(b"N")?;
            continue;
        }
        let mut parameters = vec![0; length as usize - 8];
        client.read_exact(&mut parameters)?;
        client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3])?;
        let mut answer = [0; 1];
        client.read_exact(&mut answer)?;
        let mut rest = [0; 64];
        let read = client.read(&mut rest)?;
        let has_password = String::from_utf8_lossy(&rest[..read]).contains(SECRET);
        return Ok(answer == *b"p" && has_password);
    }
}

const SECRET: &str = "told to nobody";

/// Settings, and whether psql and pg-migrate give the password away by them.
type Row<'a> = (&'a [(&'a str, &'a str)], bool, bool);

/// What each program tells somebody in the middle that strips TLS and asks for the password: psql by its own rules, which `check` follows
/// but for one, that a password never goes out in clear unless the plan says so.
#[test]
fn who_strips_tls_and_asks_for_the_password_gets_none() {
    let server = Server::of(16).tls(Tls::Required).start();
    let root = server.certificates().authority();
    let root = root.to_str().unwrap();
    let rows: [Row<'_>; 10] = [
        (&[("sslmode", "disable")], true, false),
        (&[("sslmode", "allow")], true, false),
        (&[("sslmode", "prefer")], true, false),
        (
            &[("sslmode", "prefer"), ("require_auth", "password")],
            true,
            true,
        ),
        (
            &[("sslmode", "prefer"), ("require_auth", "!password")],
            false,
            false,
        ),
        (
            &[("sslmode", "prefer"), ("require_auth", "scram-sha-256")],
            false,
            false,
        ),
        (
            &[("sslmode", "prefer"), ("channel_binding", "require")],
            false,
            false,
        ),
        (&[("sslmode", "require")], false, false),
        (
            &[("sslmode", "verify-ca"), ("sslrootcert", root)],
            false,
            false,
        ),
        (
            &[("sslmode", "verify-full"), ("sslrootcert", root)],
            false,
            false,
        ),
    ];
    let stripper = Stripper::start();
    for (settings, by_psql, by_us) in rows {
        let conninfo: Vec<String> = settings
            .iter()
            .map(|(key, value)| format!("{key}='{value}'"))
            .collect();
        let conninfo = format!(
            "host=127.0.0.1 port={} user=app dbname=postgres {}",
            stripper.port,
            conninfo.join(" ")
        );
        // The other clients were built without TLS.
        let mut psql = server.client_of(17, "psql", "postgres");
        psql.env("PGPASSWORD", SECRET)
            .args(["--no-psqlrc", "-c", "SELECT 1", &conninfo]);
        assert!(!psql.output().unwrap().status.success());
        assert_eq!(stripper.has_password(), by_psql, "psql: {settings:?}");

        for verb in ["check", "plan", "run", "verify"] {
            let mut project = Project::between(&server, &server)
                .source("host", "\"127.0.0.1\"")
                .source("port", &stripper.port.to_string())
                .source("user", "\"app\"")
                .variable("SOURCE_PASSWORD", SECRET)
                .clients(17);
            for (key, value) in settings {
                project = project.source(key, &string(value));
            }
            let finished = project.run(&[verb]);
            assert_ne!(finished.code, Some(0), "{}", finished.said());
            assert!(!finished.said().contains(SECRET), "{}", finished.said());
            assert_eq!(stripper.has_password(), by_us, "{verb}: {settings:?}");
        }
    }
}
