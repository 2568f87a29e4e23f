//! Opens connections to one database, and drives those that it opened.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::config::SslMode as Encryption;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::class::{io_error, tls_error};
use super::endpoint::is_socket;
use super::error::Error;
use super::event_triggers;
use super::identifier::{KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};
use super::notices::Notices;
use super::place::Place;
use super::pooler::{self, Pooler};
use super::session::{Session, adopt_snapshot};
use super::tls;
use crate::catalog::Version;
use crate::escape::escape_control_lines;
use crate::plan::{Endpoint, SslMode};

/// What is tried while connecting, for messages.
pub(super) const CONNECT: &str = "connect";

/// How long a session may take to end properly.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a request to cancel a query may take to reach the server.
const CANCEL_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

type Driven =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// What it takes to connect, and what is known of the connections that were made.
pub(super) struct Dialer {
    pub(super) place: Place,
    pub(super) tls: MakeRustlsConnect,
    /// Ends every connection when it is cancelled.
    pub(super) stop: CancellationToken,
    /// Why a connection was lost, the first time that one was. The client itself only learns
    /// that its connection is closed.
    pub(super) loss: OnceLock<tokio_postgres::Error>,
    /// What answered instead of a server.
    pooler: OnceLock<Pooler>,
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
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_COUNT);
        // No tcp_user_timeout: it would also end connections whose peer is alive and busy, since
        // the kernel counts the time with a closed window as well.
        if let Some(address) = endpoint.hostaddr {
            config.hostaddr(address);
        }
        if let Some(password) = &endpoint.password {
            config.password(password.expose_secret());
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
            config,
            session: session.clone(),
            version: OnceLock::new(),
        }))
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
        let Endpoint {
            side,
            override_read_only,
            ..
        } = *self.place.endpoint();
        client
            .batch_execute(&self.session.setup(side, version, override_read_only))
            .await?;
        if let Some(id) = self.session.snapshot() {
            adopt_snapshot(&client, id).await?;
        }
        Ok((client, ended))
    }

    /// Connects as libpq does by `sslmode` (PostgreSQL manual, 32.19.3).
    async fn open(&self) -> Result<(Client, Driven), tokio_postgres::Error> {
        let endpoint = self.place.endpoint();
        match endpoint.sslmode {
            // There is no TLS over Unix-domain sockets, and libpq ignores sslmode for them.
            _ if is_socket(endpoint) => self.open_with(Encryption::Disable).await,
            SslMode::Disable => self.open_with(Encryption::Disable).await,
            SslMode::Allow => match self.open_with(Encryption::Disable).await {
                Err(plain) if is_refused(&plain) => {
                    let encrypted = self.open_with(Encryption::Require).await;
                    // That TLS is not offered explains less than why plain text was refused.
                    encrypted.map_err(|error| if says_nothing(&error) { plain } else { error })
                }
                result => result,
            },
            SslMode::Prefer => match self.open_with(Encryption::Prefer).await {
                Err(encrypted) if tls_error(&encrypted).is_some() || is_refused(&encrypted) => {
                    let plain = self.open_with(Encryption::Disable).await;
                    // A second refusal says nothing new, and TLS is what was preferred.
                    plain.map_err(|error| if is_refused(&error) { encrypted } else { error })
                }
                result => result,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                self.open_with(Encryption::Require).await
            }
        }
    }

    async fn open_with(
        &self,
        encryption: Encryption,
    ) -> Result<(Client, Driven), tokio_postgres::Error> {
        let mut config = self.config.clone();
        config.ssl_mode(encryption);
        let endpoint = self.place.endpoint();
        if !event_triggers::can_be_off(endpoint) {
            return config.connect(self.tls.clone()).await;
        }
        let mut without = config.clone();
        without.options(event_triggers::OFF);
        match without.connect(self.tls.clone()).await {
            Err(error) if event_triggers::is_refusal(&error) => {}
            result => return result,
        }
        let connected = config.connect(self.tls.clone()).await?;
        event_triggers::remember_refusal(endpoint);
        Ok(connected)
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
        match self.loss.get() {
            Some(reason) if error.is_closed() => Error::lost(&self.place, action, reason),
            _ => Error::from_client(&self.place, action, error),
        }
    }
}

/// Stands for what [`Dialer::explain`] says of a pooler: a pool of connections takes no error but those of the client
/// library, and this is the one that can be had.
fn not_a_server() -> tokio_postgres::Error {
    "pooler"
        .parse::<Config>()
        .expect_err("a word alone is no configuration")
}

/// Asks the server to cancel the query of one connection. A request that does not arrive is not an
/// error: the caller is about to close the connection anyway.
pub(super) async fn cancel(token: CancelToken, tls: &MakeRustlsConnect) {
    match timeout(CANCEL_REQUEST_TIMEOUT, token.cancel_query(tls.clone())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a query could not be cancelled"),
        Err(_) => tracing::debug!("a query could not be cancelled in time"),
    }
}

/// No entry of pg_hba.conf admits this connection, encrypted or not as it is.
fn is_refused(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// The error comes neither from the server nor from the network: the server does not offer TLS.
fn says_nothing(error: &tokio_postgres::Error) -> bool {
    error.code().is_none() && io_error(error).is_none()
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
