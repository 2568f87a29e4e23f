//! Whether the server itself answers, or a connection pooler that lends its sessions out.
//!
//! What is set on a lent session stays there, and the application that gets it next runs with our settings. So this is
//! found out before anything is set: a pooler gives its clients keys of its own to cancel queries by (PostgreSQL manual,
//! 54.2.1, BackendKeyData), which do not name the backend that answers.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, SimpleQueryMessage};

/// What answers instead of a server, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooler {
    /// Each query may be answered by another session.
    Transaction,
    /// One session answers, and is another than the one that was promised.
    Session,
}

/// Asks who answers. Nothing is set on the session by that, and nothing prepared.
///
/// # Errors
///
/// A connection that breaks.
pub(super) async fn find(client: &Client) -> Result<Option<Pooler>, tokio_postgres::Error> {
    let answers = backend(client).await?;
    if answers == promised(client).await {
        return Ok(None);
    }
    Ok(Some(if backend(client).await? == answers {
        Pooler::Session
    } else {
        Pooler::Transaction
    }))
}

/// The process id of the backend that answers.
async fn backend(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    let messages = client
        .simple_query("SELECT pg_catalog.pg_backend_pid()")
        .await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    }))
}

/// The process id that was given for requests to cancel. The client library keeps it for itself, but writes it into such
/// a request, whose last eight bytes are the process id and the secret key (54.7, CancelRequest).
async fn promised(client: &Client) -> Option<i32> {
    let tap = Tap::default();
    client
        .cancel_token()
        .cancel_query_raw(tap.clone(), Through)
        .await
        .ok()?;
    let written = tap.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, key) = written.split_last_chunk::<8>()?;
    let (id, _) = key.split_first_chunk::<4>()?;
    Some(i32::from_be_bytes(*id))
}

/// Leads nowhere and keeps what is written; asked for TLS, it agrees.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<u8>>>);

/// Has no need of TLS.
struct Through;

impl TlsConnect<Tap> for Through {
    type Stream = Tap;
    type Error = io::Error;
    type Future = Ready<io::Result<Tap>>;

    fn connect(self, stream: Tap) -> Self::Future {
        ready(Ok(stream))
    }
}

impl TlsStream for Tap {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
