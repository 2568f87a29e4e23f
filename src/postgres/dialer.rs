//! Opens connections to one database, and drives those that it opened.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding as Binding, SslMode as Encryption, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::class::{io_error, tls_error};
use super::error::Error;
use super::event_triggers;
use super::gate::{Gate, Policy};
use super::handshake::{Handshake, NoTls, Stream};
use super::identifier::{KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};
use super::notices::Notices;
use super::place::Place;
use super::pooler::{self, Pooler};
use super::session::{Session, adopt_snapshot};
use super::sighting;
use super::tls;
use crate::catalog::Version;
use crate::escape::escape_control_lines;
use crate::names::Stranger;
use crate::plan::password::{Known, Password};
use crate::plan::{ChannelBinding, Endpoint, SslMode};

/// What is tried while connecting, for messages.
pub(super) const CONNECT: &str = "connect";

/// How long a session may take to end properly.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a request to cancel a query may take to reach the server.
const CANCEL_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

type Driven = tokio_postgres::Connection<Socket, Gate<Stream>>;

/// What it takes to connect, and what is known of the connections that were made.
pub(super) struct Dialer {
    pub(super) place: Place,
    tls: MakeRustlsConnect,
    /// Ends every connection when it is cancelled.
    pub(super) stop: CancellationToken,
    /// Why a connection was lost, the first time that one was. The client itself only learns
    /// that its connection is closed.
    pub(super) loss: OnceLock<tokio_postgres::Error>,
    /// What answered instead of a server.
    pooler: OnceLock<Pooler>,
    /// What answered instead of the server that the run began with.
    stranger: OnceLock<Stranger>,
    /// Why there is no other password than one that was refused.
    no_other_password: Mutex<Option<String>>,
    config: Config,
    session: Session,
    version: OnceLock<Version>,
}

impl Dialer {
    /// Reads the certificates that the endpoint names; does not connect yet.
    pub(super) fn new(
        endpoint: &Endpoint,
        database: &str,
        session: &Session,
    ) -> Result<Arc<Self>, Error> {
        let place = Place::new(endpoint, database);
        let tls = tls::connector(endpoint).map_err(|error| Error::tls(&place, CONNECT, error))?;
        let mut config = Config::new();
        config
            .host(&endpoint.host)
            .port(endpoint.port)
            .user(&endpoint.user)
            .dbname(database)
            .application_name(session.application())
            .channel_binding(match endpoint.protection.channel_binding {
                ChannelBinding::Disable => Binding::Disable,
                ChannelBinding::Prefer => Binding::Prefer,
                ChannelBinding::Require => Binding::Require,
            })
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_COUNT);
        // No tcp_user_timeout: it would also end connections whose peer is alive and busy, since
        // the kernel counts the time with a closed window as well.
        if let Some(address) = endpoint.hostaddr {
            config.hostaddr(address);
        }
        if !endpoint.connect_timeout.is_zero() {
            config.connect_timeout(endpoint.connect_timeout);
        }
        Ok(Arc::new(Dialer {
            place,
            tls,
            stop: CancellationToken::new(),
            loss: OnceLock::new(),
            pooler: OnceLock::new(),
            stranger: OnceLock::new(),
            no_other_password: Mutex::default(),
            config,
            session: session.clone(),
            version: OnceLock::new(),
        }))
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// How long [`Dialer::dial`] may take; `None`: without a limit.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.config
            .get_connect_timeout()
            .map(|timeout| *timeout * 2)
    }

    /// The server's version, as of the first connection.
    ///
    /// # Panics
    ///
    /// Before there was a connection.
    pub(super) fn version(&self) -> Version {
        *self.version.get().expect("a connection was made")
    }

    /// Connects and sets the session up. The token is cancelled when the connection has ended.
    pub(super) async fn dial(
        self: &Arc<Self>,
    ) -> Result<(Client, CancellationToken), tokio_postgres::Error> {
        let (client, connection) = self.open().await?;
        let reported = connection
            .parameter("server_version")
            .and_then(Version::parse);
        let ended = self.drive(connection);
        if let Some(pooler) = pooler::find(&client).await? {
            let _ = self.pooler.set(pooler);
            return Err(not_a_server());
        }
        let version = match reported {
            Some(version) => version,
            None => ask_version(&client).await?,
        };
        // Another connection of the pool may have set it.
        let _ = self.version.set(version);
        self.set_up(&client, version).await?;
        if let Some(id) = self.session.snapshot() {
            adopt_snapshot(&client, id).await?;
        }
        Ok((client, ended))
    }

    /// Sets the session up, and refuses a server that is not the one that other connections of the run saw before.
    async fn set_up(&self, client: &Client, version: Version) -> Result<(), tokio_postgres::Error> {
        let endpoint = self.place.endpoint();
        let setup = self
            .session
            .setup(endpoint.side, version, endpoint.override_read_only);
        // A session like a client's: nothing is asked of it that a client does not ask.
        if setup.is_empty() {
            return Ok(());
        }
        let before = endpoint.watch.latest();
        let Some(now) = sighting::set_up(client, &setup, version, before).await? else {
            return Ok(());
        };
        endpoint.watch.notice(before, now).map_err(|stranger| {
            let _ = self.stranger.set(stranger);
            not_a_server()
        })
    }

    /// Connects with the password that is known. One that is refused is asked for again, where that can be: what a command or
    /// a file said may live for minutes, and a run for hours.
    async fn open(&self) -> Result<(Client, Driven), tokio_postgres::Error> {
        let Some(password) = &self.place.endpoint().password else {
            return self.open_by_sslmode(None).await;
        };
        let used = password.now();
        let refused = match self.open_by_sslmode(Some(&used)).await {
            Err(error) if password.can_be_asked_again() && is_login_refused(&error) => error,
            result => return result,
        };
        let no_other = match password.after(&used).await {
            Ok(fresh) if !fresh.is_same(&used) => {
                tracing::info!(place = %self.place, "the password was refused and asked for again");
                return self.open_by_sslmode(Some(&fresh)).await;
            }
            Ok(_) => "it was asked for again, and is the same".to_owned(),
            Err(error) => format!("it was asked for again, which failed: {error}"),
        };
        tracing::warn!(place = %self.place, "the password was refused; {no_other}");
        *self.lock_no_other_password() = Some(no_other);
        Err(refused)
    }

    fn lock_no_other_password(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        let lock = self.no_other_password.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects as libpq does by `sslmode` (PostgreSQL manual, 32.19.3).
    async fn open_by_sslmode(
        &self,
        password: Option<&Known>,
    ) -> Result<(Client, Driven), tokio_postgres::Error> {
        let endpoint = self.place.endpoint();
        let open_with = |encryption| self.open_with(encryption, password);
        match endpoint.sslmode {
            // There is no TLS over Unix-domain sockets, and libpq ignores sslmode for them.
            _ if endpoint.is_socket() => open_with(Encryption::Disable).await,
            SslMode::Disable => open_with(Encryption::Disable).await,
            SslMode::Allow => match open_with(Encryption::Disable).await {
                Err(plain) if is_refused(&plain) => {
                    let encrypted = open_with(Encryption::Require).await;
                    // That TLS is not offered explains less than why plain text was refused.
                    encrypted.map_err(|error| if is_without_tls(&error) { plain } else { error })
                }
                result => result,
            },
            SslMode::Prefer => match open_with(Encryption::Prefer).await {
                Err(encrypted) if tls_error(&encrypted).is_some() || is_refused(&encrypted) => {
                    let plain = open_with(Encryption::Disable).await;
                    // A second refusal says nothing new, and TLS is what was preferred.
                    plain.map_err(|error| if is_refused(&error) { encrypted } else { error })
                }
                result => result,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                open_with(Encryption::Require).await
            }
        }
    }

    async fn open_with(
        &self,
        encryption: Encryption,
        password: Option<&Known>,
    ) -> Result<(Client, Driven), tokio_postgres::Error> {
        let endpoint = self.place.endpoint();
        let mut config = self.config.clone();
        if endpoint.is_socket() {
            config.ssl_mode(Encryption::Disable);
        } else {
            // All of it is the handshake's.
            config.ssl_mode(Encryption::Require);
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        if let Some(password) = password {
            config.password(password.expose());
        }
        let handshake = self.handshake(encryption);
        if !event_triggers::can_be_off(endpoint) {
            return config.connect(handshake).await;
        }
        let mut without = config.clone();
        without.options(event_triggers::OFF);
        match without.connect(handshake.clone()).await {
            Err(error) if event_triggers::is_refusal(&error) => {}
            result => return result,
        }
        let connected = config.connect(handshake).await?;
        event_triggers::remember_refusal(endpoint);
        Ok(connected)
    }

    fn handshake(&self, encryption: Encryption) -> Handshake {
        let endpoint = self.place.endpoint();
        Handshake {
            tls: self.tls.clone(),
            encryption,
            policy: Policy {
                protection: endpoint.protection.clone(),
                sends_passwords: endpoint.sends_passwords(),
            },
        }
    }

    /// What requests to cancel a query begin with.
    pub(super) fn handshake_to_cancel(&self) -> Handshake {
        let sslmode = self.place.endpoint().sslmode;
        self.handshake(match sslmode {
            SslMode::Disable => Encryption::Disable,
            _ if sslmode.is_always_tls() => Encryption::Require,
            _ => Encryption::Prefer,
        })
    }

    /// Starts the task that talks with the server. It ends with the client, when the connection
    /// breaks, or a moment after `stop`.
    fn drive(self: &Arc<Self>, connection: Driven) -> CancellationToken {
        let ended = CancellationToken::new();
        let dialer = Arc::clone(self);
        // Tells also when the task is aborted with the runtime, or panics.
        let tell = ended.clone().drop_guard();
        tokio::spawn(async move {
            let result = {
                let mut talking = pin!(talk(connection, dialer.session.warnings_to()));
                tokio::select! {
                    result = &mut talking => result,
                    () = dialer.stop.cancelled() => {
                        // Whatever is under way may be finished and Terminate sent, for the server's log.
                        timeout(LAST_WORDS, talking).await.unwrap_or(Ok(()))
                    }
                }
            };
            if let Err(error) = result {
                tracing::debug!(place = %dialer.place, %error, "a connection was lost");
                // That it is closed says nothing about why.
                if !error.is_closed() {
                    let _ = dialer.loss.set(error);
                }
            }
            // Last of all: who waits for the end asks for the reason next.
            drop(tell);
        });
        ended
    }

    /// An error of one of the connections, in our words.
    pub(super) fn explain(&self, action: impl Into<String>, error: tokio_postgres::Error) -> Error {
        if let Some(pooler) = self.pooler.get() {
            return Error::pooler(&self.place, action, *pooler);
        }
        if let Some(stranger) = self.stranger.get() {
            return Error::stranger(&self.place, action, *stranger);
        }
        match self.loss.get() {
            Some(reason) if error.is_closed() => Error::lost(&self.place, action, reason),
            _ => {
                let is_refused = is_login_refused(&error) && self.asks_again();
                let error = Error::from_client(&self.place, action, error);
                if !is_refused {
                    return error;
                }
                error.until_another_password(self.lock_no_other_password().take())
            }
        }
    }

    fn asks_again(&self) -> bool {
        let password = self.place.endpoint().password.as_ref();
        password.is_some_and(Password::can_be_asked_again)
    }
}

/// Stands for what [`Dialer::explain`] says of a pooler, or of another server: a pool of connections takes no error but those of the client
/// library, and this is the one that can be had.
fn not_a_server() -> tokio_postgres::Error {
    "pooler"
        .parse::<Config>()
        .expect_err("a word alone is no configuration")
}

/// Asks the server to cancel the query of one connection. A request that does not arrive is not an
/// error: the caller is about to close the connection anyway.
pub(super) async fn cancel(token: CancelToken, handshake: Handshake) {
    match timeout(CANCEL_REQUEST_TIMEOUT, token.cancel_query(handshake)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a query could not be cancelled"),
        Err(_) => tracing::debug!("a query could not be cancelled in time"),
    }
}

/// No entry of pg_hba.conf admits this connection, encrypted or not as it is.
fn is_refused(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// The server does not let us in as who we say to be: for the password perhaps, which servers tell in two ways.
fn is_login_refused(error: &tokio_postgres::Error) -> bool {
    is_refused(error) || error.code() == Some(&SqlState::INVALID_PASSWORD)
}

/// The server does not offer TLS.
fn is_without_tls(error: &tokio_postgres::Error) -> bool {
    io_error(error).is_some_and(|error| error.get_ref().is_some_and(|inner| inner.is::<NoTls>()))
}

/// Some connection poolers report no version that can be read.
async fn ask_version(client: &Client) -> Result<Version, tokio_postgres::Error> {
    let row = client
        .query_one(
            "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4",
            &[],
        )
        .await?;
    let number: i32 = row.try_get(0)?;
    Ok(Version(number.unsigned_abs()))
}

/// Talks until the session ends.
async fn talk<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    warnings: Option<&Notices>,
) -> Result<(), tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message? {
            tracing::debug!(
                severity = notice.severity(),
                code = notice.code().code(),
                "{}",
                escape_control_lines(notice.message())
            );
            if let Some(warnings) = warnings {
                warnings.push(&notice);
            }
        }
    }
    Ok(())
}
