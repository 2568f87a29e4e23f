//! The start of a connection: TLS where it is wanted and the server has it, and what the server may ask for then.
//!
//! The client library asks for nothing by itself (`sslnegotiation=direct`, as it calls that), so that every connection goes through
//! here, one without TLS too.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::SslMode as Encryption;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::gate::{Gate, Policy};

/// SSLRequest (PostgreSQL manual, 54.7 "Message Formats"): its length, and a number that is no version of the protocol.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The server does not have what `sslmode` requires.
#[derive(Debug, thiserror::Error)]
#[error("the server does not support TLS")]
pub(super) struct NoTls;

/// How connections to a server begin.
#[derive(Clone)]
pub(super) struct Handshake {
    pub(super) tls: MakeRustlsConnect,
    pub(super) encryption: Encryption,
    pub(super) policy: Policy,
}

type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A connection, encrypted or not.
pub(super) enum Stream {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

/// One connection that begins.
pub(super) struct Beginning {
    tls: <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect,
    encryption: Encryption,
    policy: Policy,
}

impl MakeTlsConnect<Socket> for Handshake {
    type Stream = Gate<Stream>;
    type TlsConnect = Beginning;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Beginning, Self::Error> {
        let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, host)?;
        Ok(Beginning {
            tls,
            encryption: self.encryption,
            policy: self.policy.clone(),
        })
    }
}

impl TlsConnect<Socket> for Beginning {
    type Stream = Gate<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Gate<Stream>>> + Send>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = match self.encryption {
                Encryption::Disable => Stream::Plain(socket),
                _ if has_tls(&mut socket).await? => {
                    Stream::Encrypted(Box::new(self.tls.connect(socket).await?))
                }
                Encryption::Prefer => Stream::Plain(socket),
                _ => return Err(io::Error::new(io::ErrorKind::Unsupported, NoTls)),
            };
            if let Stream::Plain(_) = stream {
                self.policy.protection.seen.update(|link| link.tls = None);
            }
            Ok(Gate::new(stream, self.policy))
        })
    }
}

/// Reads one byte alone: what comes in clear after it is not taken for the server's, encrypted (CVE-2021-23222).
async fn has_tls(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    Ok(socket.read_u8().await? == b'S')
}

impl TlsStream for Gate<Stream> {
    fn channel_binding(&self) -> ChannelBinding {
        match self.get_ref() {
            Stream::Plain(_) => ChannelBinding::none(),
            Stream::Encrypted(stream) => stream.channel_binding(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
