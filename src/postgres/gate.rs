//! Reads along what a server asks its client for, before the client library answers: a password that was asked for in clear is gone
//! with the answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::plan::{Method, Protection};

/// What a server may ask for on one connection.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) protection: Protection,
    /// Nobody between can read what is sent, or the plan says that the password may be sent in clear.
    pub(super) sends_passwords: bool,
}

/// A request for authentication that is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the server asks for the password in clear, over a connection that may be without TLS")]
    PasswordInClear,
    #[error("the server asks for {}, which require_auth = \"{require_auth}\" does not allow", .method.as_str())]
    Method {
        method: Method,
        require_auth: String,
    },
    #[error(
        "the server lets the client in without authentication, which require_auth = \"{require_auth}\" does not allow"
    )]
    Nothing { require_auth: String },
    #[error("the server asks for a kind of authentication that is not known here ({0})")]
    Unknown(i32),
}

/// A connection to a server, as a client library reads it.
pub(super) struct Gate<S> {
    stream: S,
    /// `None`: the client is in.
    watcher: Option<Watcher>,
}

impl<S> Gate<S> {
    pub(super) fn new(stream: S, policy: Policy) -> Self {
        Gate {
            stream,
            watcher: Some(Watcher::new(policy)),
        }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }
}

/// Takes the server's messages apart (PostgreSQL manual, 54.7 "Message Formats"), up to AuthenticationOk.
struct Watcher {
    policy: Policy,
    /// The start of a message: its type, its length, and what follows, as far as it was read.
    head: Vec<u8>,
    /// So many bytes of a message that says nothing of authentication are left.
    skip: usize,
    asked: Option<Method>,
}

/// Type and length.
const HEADER: usize = 5;

/// A list of SASL mechanisms is shorter.
const LONGEST: usize = 64 * 1024;

impl Watcher {
    fn new(policy: Policy) -> Self {
        Watcher {
            policy,
            head: Vec::new(),
            skip: 0,
            asked: None,
        }
    }

    /// Looks at what was received. `true`: the client is in.
    fn read(&mut self, mut bytes: &[u8]) -> Result<bool, Refusal> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = self.wanted().saturating_sub(self.head.len());
            let taken = wanted.min(bytes.len());
            self.head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.head.len() < HEADER || self.head.len() < self.wanted() {
                continue;
            }
            let is_request = self.head[0] == b'R' && self.length() <= LONGEST;
            if !is_request {
                self.skip = self.length() + 1 - HEADER;
                self.head.clear();
                continue;
            }
            let message = std::mem::take(&mut self.head);
            if self.asks(&message[HEADER..])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How much of the message is kept: of a request all, of others what tells where they end.
    fn wanted(&self) -> usize {
        match self.head.first() {
            Some(b'R') if self.head.len() >= HEADER && self.length() <= LONGEST => {
                self.length() + 1
            }
            _ => HEADER,
        }
    }

    /// As the message says it: without its type, with itself.
    fn length(&self) -> usize {
        let length = self.head[1..HEADER].try_into().map(u32::from_be_bytes);
        length.map_or(4, |length| (length as usize).max(4))
    }

    /// `true`: it is AuthenticationOk.
    fn asks(&mut self, body: &[u8]) -> Result<bool, Refusal> {
        let Some((code, rest)) = body.split_first_chunk() else {
            return Err(Refusal::Unknown(-1));
        };
        let method = match i32::from_be_bytes(*code) {
            0 => {
                self.lets_in()?;
                return Ok(true);
            }
            3 => Method::Password,
            5 => Method::Md5,
            7 => Method::Gss,
            9 => Method::Sspi,
            10 => match rest.windows(5).any(|word| word == b"SCRAM") {
                true => Method::ScramSha256,
                false => Method::OAuth,
            },
            // More of what was begun: GSS, SASL, the end of SASL.
            8 | 11 | 12 if self.asked.is_some() => return Ok(false),
            other => return Err(Refusal::Unknown(other)),
        };
        self.asked = Some(method);
        let offers_binding = rest.windows(5).any(|word| word == b"-PLUS");
        let protection = &self.policy.protection;
        protection.seen.update(|link| {
            link.method = Some(method);
            link.offers_binding = offers_binding;
        });
        if let Some(require_auth) = &protection.require_auth
            && !require_auth.allows(method)
        {
            let require_auth = require_auth.to_string();
            return Err(Refusal::Method {
                method,
                require_auth,
            });
        }
        if method == Method::Password && !self.policy.sends_passwords {
            return Err(Refusal::PasswordInClear);
        }
        Ok(false)
    }

    fn lets_in(&self) -> Result<(), Refusal> {
        let require_auth = self.policy.protection.require_auth.as_ref();
        let is_allowed = require_auth.is_none_or(|list| list.allows(Method::None));
        if self.asked.is_some() || is_allowed {
            return Ok(());
        }
        let require_auth = require_auth.map(ToString::to_string).unwrap_or_default();
        Err(Refusal::Nothing { require_auth })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let Some(watcher) = &mut this.watcher else {
            return Poll::Ready(Ok(()));
        };
        match watcher.read(&buffer.filled()[before..]) {
            Ok(is_in) => {
                if is_in {
                    this.watcher = None;
                }
                Poll::Ready(Ok(()))
            }
            Err(refusal) => {
                buffer.set_filled(before);
                // Not to be tried again.
                let kind = io::ErrorKind::PermissionDenied;
                Poll::Ready(Err(io::Error::new(kind, refusal)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RequireAuth;

    fn request(code: i32, rest: &[u8]) -> Vec<u8> {
        let length = 8 + rest.len() as u32;
        [
            b"R",
            &length.to_be_bytes()[..],
            &code.to_be_bytes()[..],
            rest,
        ]
        .concat()
    }

    fn notice() -> Vec<u8> {
        // With what looks like a request for a password in it.
        let text = request(3, b"");
        let length = 4 + text.len() as u32;
        [b"N", &length.to_be_bytes()[..], &text].concat()
    }

    /// What becomes of it however it is cut into pieces.
    fn read(
        messages: &[Vec<u8>],
        require_auth: &str,
        sends_passwords: bool,
    ) -> Result<bool, Refusal> {
        let bytes = messages.concat();
        let outcome = |size: usize| {
            let mut watcher = Watcher::new(Policy {
                protection: Protection {
                    require_auth: RequireAuth::parse(require_auth).ok(),
                    ..Protection::default()
                },
                sends_passwords,
            });
            bytes.chunks(size).try_fold(false, |is_in, part| {
                assert!(!is_in, "nothing is read after AuthenticationOk");
                watcher.read(part)
            })
        };
        let whole = outcome(bytes.len());
        for size in 1..bytes.len() {
            assert_eq!(outcome(size), whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn what_may_be_asked_for_is_what_the_plan_says() {
        let scram = [
            request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
            request(11, b"r=1"),
            request(12, b"v=1"),
            request(0, b""),
        ];
        assert_eq!(read(&scram, "", false), Ok(true));
        assert_eq!(read(&scram, "scram-sha-256", false), Ok(true));
        assert_eq!(
            read(
                &[notice(), request(5, b"salt"), notice(), request(0, b"")],
                "md5",
                false
            ),
            Ok(true)
        );
        assert_eq!(read(&scram[..2], "", false), Ok(false));
        let refused = |method, require_auth: &str| {
            let require_auth = require_auth.to_owned();
            Err(Refusal::Method {
                method,
                require_auth,
            })
        };
        assert_eq!(
            read(&scram, "!scram-sha-256", false),
            refused(Method::ScramSha256, "!scram-sha-256")
        );
        assert_eq!(
            read(&[request(5, b"salt")], "scram-sha-256", false),
            refused(Method::Md5, "scram-sha-256")
        );
        assert_eq!(
            read(&[request(3, b"")], "scram-sha-256", true),
            refused(Method::Password, "scram-sha-256")
        );
        assert_eq!(
            read(&[request(10, b"OAUTHBEARER\0\0")], "scram-sha-256", true),
            refused(Method::OAuth, "scram-sha-256")
        );
    }

    #[test]
    fn passwords_do_not_leave_in_clear() {
        let asks = [notice(), request(3, b""), request(0, b"")];
        assert_eq!(read(&asks, "", false), Err(Refusal::PasswordInClear));
        assert_eq!(read(&asks, "!md5", false), Err(Refusal::PasswordInClear));
        assert_eq!(read(&asks, "", true), Ok(true));
    }

    #[test]
    fn nobody_comes_in_unasked_where_the_plan_wants_to_be_asked() {
        let nothing = [request(0, b"")];
        assert_eq!(read(&nothing, "", false), Ok(true));
        assert_eq!(read(&nothing, "none", false), Ok(true));
        let require_auth = "scram-sha-256".to_owned();
        assert_eq!(
            read(&nothing, "scram-sha-256", false),
            Err(Refusal::Nothing { require_auth })
        );
        // A continuation of nothing is no authentication.
        assert_eq!(
            read(
                &[request(12, b"v=1"), request(0, b"")],
                "scram-sha-256",
                false
            ),
            Err(Refusal::Unknown(12))
        );
    }
}
