//! Tests of [`super::connect`] against servers that a real one cannot be made into.

use std::time::Instant;

use miette::Diagnostic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Class, Session};
use super::*;
use crate::plan::password::Password;
use crate::plan::{RequireAuth, Side, SslMode};

/// What the server answers to an SSLRequest (PostgreSQL manual, 54.2.11).
const NO_TLS: &[u8] = b"N";
const TLS: &[u8] = b"S";
/// AuthenticationCleartextPassword.
const ASK_PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

/// An ErrorResponse with this SQLSTATE.
fn refusal(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0Mgo away\0Dand stay there\0Htry elsewhere\0\0");
    let mut message = vec![b'E'];
    message.extend((fields.len() as u32 + 4).to_be_bytes());
    message.extend(fields.into_bytes());
    message
}

/// Reads one message of a connection's start: SSLRequest, or StartupMessage.
async fn read_start(socket: &mut TcpStream) -> Vec<u8> {
    let length = socket.read_u32().await.unwrap();
    let mut message = vec![0; length as usize - 4];
    socket.read_exact(&mut message).await.unwrap();
    message
}

fn is_ssl_request(message: &[u8]) -> bool {
    message == 80_877_103_u32.to_be_bytes()
}

/// A server on a free port that gives each connection in turn the next list of answers, one answer a
/// message. It says how many connections it had.
async fn serve(
    connections: Vec<Vec<Vec<u8>>>,
) -> (u16, tokio::task::JoinHandle<Vec<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut seen = Vec::new();
        for answers in connections {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut messages = Vec::new();
            for answer in answers {
                messages.push(read_start(&mut socket).await);
                socket.write_all(&answer).await.unwrap();
            }
            seen.push(messages);
        }
        seen
    });
    (port, task)
}

fn endpoint(port: u16, sslmode: SslMode) -> Endpoint {
    Endpoint {
        side: Side::Target,
        host: "127.0.0.1".into(),
        hostaddr: None,
        port,
        user: "postgres".into(),
        database: "postgres".into(),
        password: None,
        sslmode,
        sslrootcert: None,
        sslcert: None,
        sslkey: None,
        protection: crate::plan::Protection::default(),
        connect_timeout: Duration::from_secs(5),
        watch: crate::names::Watch::default(),
        override_read_only: false,
    }
}

async fn error_of(endpoint: &Endpoint) -> Error {
    connect(endpoint, "erp", &Session::new("test"))
        .await
        .expect_err("login is refused here")
}

/// The error as it is shown, without the port.
fn shown(error: &Error, port: u16) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}\n< {source}");
        next = source.source();
    }
    if let Some(help) = error.help() {
        text = format!("{text}\nhelp: {help}");
    }
    text.replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_other_failures() {
    let (port, _server) = serve(vec![vec![NO_TLS.into()]]).await;
    let error = error_of(&endpoint(port, SslMode::Require)).await;
    assert_eq!(error.class(), Class::Fail);
    insta::assert_snapshot!(shown(&error, port), @r#"
    cannot connect (database "erp" of the target server 127.0.0.1:PORT)
    < error performing TLS handshake
    < the server does not support TLS
    help: `target.sslmode` = "require" requires TLS, and the server does not support it: set ssl = on there, or choose `prefer` or `disable`.
    "#);
}

#[tokio::test]
async fn a_server_that_asks_for_a_password_in_vain_is_told_too() {
    let (port, _server) = serve(vec![vec![ASK_PASSWORD.into()]]).await;
    let mut endpoint = endpoint(port, SslMode::Disable);
    endpoint.protection.require_auth = RequireAuth::parse("password").ok();
    let error = error_of(&endpoint).await;
    assert_eq!(error.class(), Class::Fail);
    insta::assert_snapshot!(shown(&error, port), @r#"
    cannot connect (database "erp" of the target server 127.0.0.1:PORT)
    < invalid configuration
    < password missing
    help: The server asks for a password and there is none: set `target.password`, or add a line for this server to the password file.
    "#);
}

#[tokio::test]
async fn a_password_does_not_leave_in_clear() {
    for sslmode in [SslMode::Disable, SslMode::Prefer] {
        let mut answers = vec![ASK_PASSWORD.to_vec()];
        if sslmode == SslMode::Prefer {
            answers.insert(0, NO_TLS.to_vec());
        }
        let (port, server) = serve(vec![answers]).await;
        let mut endpoint = endpoint(port, sslmode);
        endpoint.password = Some(Password::fixed("hunter2".into()));
        let error = error_of(&endpoint).await;
        assert_eq!(error.class(), Class::Fail);
        assert!(shown(&error, port).contains("asks for the password in clear"));
        let seen = format!("{:?}", server.await.unwrap());
        assert!(
            !seen.contains("hunter2") && !seen.contains("104, 117, 110, 116"),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn the_words_of_the_server_are_passed_on() {
    let (port, _server) = serve(vec![vec![refusal("53300")]]).await;
    let error = error_of(&endpoint(port, SslMode::Disable)).await;
    assert_eq!(error.class(), Class::Retry);
    assert_eq!(error.sqlstate(), Some("53300"));
    insta::assert_snapshot!(shown(&error, port), @r#"
    cannot connect (database "erp" of the target server 127.0.0.1:PORT)
    < FATAL: go away (SQLSTATE 53300)
    DETAIL: and stay there
    HINT: try elsewhere
    help: Terminate idle sessions, raise max_connections or the connection limit of the role or database, or lower `target.max_connections` in the plan.
    "#);
}

#[tokio::test]
async fn prefer_takes_plain_text_where_tls_fails() {
    let mut broken = TLS.to_vec();
    broken.extend(b"this is no TLS record");
    let connections = vec![vec![broken], vec![refusal("3D000")]];
    let (port, server) = serve(connections).await;
    let error = error_of(&endpoint(port, SslMode::Prefer)).await;
    assert_eq!(error.sqlstate(), Some("3D000"));
    let seen = server.await.unwrap();
    assert!(is_ssl_request(&seen[0][0]));
    assert!(!is_ssl_request(&seen[1][0]));
}

#[tokio::test]
async fn prefer_does_not_try_a_wrong_password_again() {
    let connections = vec![vec![NO_TLS.into(), refusal("28P01")]];
    let (port, server) = serve(connections).await;
    let error = error_of(&endpoint(port, SslMode::Prefer)).await;
    assert_eq!(error.sqlstate(), Some("28P01"));
    assert_eq!(server.await.unwrap().len(), 1);
}

#[tokio::test]
async fn require_never_takes_plain_text() {
    let mut broken = TLS.to_vec();
    broken.extend(b"this is no TLS record");
    let (port, server) = serve(vec![vec![broken]]).await;
    let error = error_of(&endpoint(port, SslMode::Require)).await;
    assert_eq!((error.class(), error.sqlstate()), (Class::Fail, None));
    assert!(is_ssl_request(&server.await.unwrap()[0][0]));
}

#[tokio::test]
async fn allow_tries_tls_only_where_plain_text_is_refused() {
    let connections = vec![vec![refusal("28000")], vec![NO_TLS.into()]];
    let (port, server) = serve(connections).await;
    let error = error_of(&endpoint(port, SslMode::Allow)).await;
    // That TLS is not offered explains less than why plain text was refused.
    assert_eq!(error.sqlstate(), Some("28000"));
    let seen = server.await.unwrap();
    assert!(!is_ssl_request(&seen[0][0]));
    assert!(is_ssl_request(&seen[1][0]));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut endpoint = endpoint(port, SslMode::Disable);
    endpoint.connect_timeout = Duration::from_millis(100);
    let start = Instant::now();
    let error = error_of(&endpoint).await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(error.class(), Class::Retry);
    insta::assert_snapshot!(shown(&error, port), @r#"
    cannot connect (database "erp" of the target server 127.0.0.1:PORT)
    < no answer within 0.2 s
    help: Something between here and 127.0.0.1:PORT drops the packets, or the server is overloaded: check `target.host` and `target.port`, firewalls and routes, or raise `target.connect_timeout`.
    "#);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_a_retry() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = error_of(&endpoint(port, SslMode::Prefer)).await;
    assert_eq!(error.class(), Class::Retry);
    insta::assert_snapshot!(shown(&error, port), @r#"
    cannot connect (database "erp" of the target server 127.0.0.1:PORT)
    < error connecting to server
    < Connection refused (os error 111)
    help: No server is listening there: check that it is running, that `target.host` and `target.port` are right, and that its listen_addresses includes this address.
    "#);
}

#[tokio::test]
async fn certificates_are_read_before_anything_is_sent() {
    let mut endpoint = endpoint(65_535, SslMode::VerifyFull);
    let error = error_of(&endpoint).await;
    insta::assert_snapshot!(shown(&error, 65_535), @r#"
    cannot connect (database "erp" of the target server 127.0.0.1:PORT)
    < `target.sslmode` = "verify-full" needs `target.sslrootcert`
    help: Name the file with the CA's certificate, or "system" for the certificates that the operating system trusts.
    "#);
    endpoint.sslrootcert = Some("/nonexistent/ca.pem".into());
    let error = error_of(&endpoint).await;
    assert_eq!(error.class(), Class::Fail);
    insta::assert_snapshot!(shown(&error, 65_535), @r#"
    cannot connect (database "erp" of the target server 127.0.0.1:PORT)
    < cannot read sslrootcert of the target, /nonexistent/ca.pem
    < I/O error: No such file or directory (os error 2)
    help: It must be a readable file in PEM format.
    "#);
    // Over a socket there is no TLS, whatever the plan says.
    endpoint.host = "/nonexistent".into();
    let error = error_of(&endpoint).await;
    assert_eq!(error.class(), Class::Retry);
}
