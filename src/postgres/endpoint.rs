//! From what the plan says of a server to how it is reached.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use miette::Diagnostic;
use secrecy::SecretString;

use super::environment::{Environment, Failure};
use super::password_file::{self, Wanted};
use super::service_file::{self, Service, ServiceError};
use super::tls::is_readable_by_others;
use crate::escape::escape_control;
use crate::names::Watch;
use crate::plan::password::Password;
use crate::plan::{
    ChannelBinding, Endpoint, Method, PasswordSource, Protection, RequireAuth, Seen, Server, Side,
    SslMode, TlsVersion, Value,
};

/// How a server is reached, and what the user should know about how that was found out.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub endpoint: Endpoint,
    pub warnings: Vec<String>,
}

/// Why it cannot be said how a server is reached.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum EndpointError {
    #[error("`{side}.{key}` of the plan is the environment variable {variable}, which is not set")]
    #[diagnostic(help("Set {variable} and start again."))]
    NotSet {
        side: Side,
        key: &'static str,
        variable: String,
    },
    #[error(
        "{origin} does not give {wanted} for `{key}` of the {side}{}",
        shown(value)
    )]
    Invalid {
        side: Side,
        key: &'static str,
        /// `the environment variable OLD_PORT`, `the service "old-prod" (/etc/pg_service.conf)`.
        origin: String,
        /// `None`: it may be another variable than was meant, and hold a password.
        value: Option<String>,
        wanted: &'static str,
    },
    #[error(
        "{origin} asks for `{key}` = {value:?} of connections to the {side}, which pg-migrate cannot give"
    )]
    #[diagnostic(help(
        "Without it connections would be less protected than they are to be: remove it there for this program, and see \
         `sslmode`, `require_auth` and `channel_binding` of the plan."
    ))]
    Unsupported {
        side: Side,
        key: &'static str,
        origin: String,
        value: String,
    },
    #[error(
        "require_auth = \"{require_auth}\" is asked for of the {side}, which is reached by a Unix-domain socket: pg-migrate \
         looks at what a server asks for over TCP alone"
    )]
    #[diagnostic(help(
        "Set `{side}.host` to an address that the server listens on; or do without `require_auth` (PGREQUIREAUTH): a socket \
         leads to this machine's own server."
    ))]
    RequireAuthOnSocket { side: Side, require_auth: String },
    #[error("`{side}.host` names several servers: {host:?}")]
    #[diagnostic(help(
        "Name one: a migration must read the same server from its start to its end."
    ))]
    SeveralHosts { side: Side, host: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Service(#[from] ServiceError),
    #[error("cannot read the password of the {side} from {}", path.display())]
    #[diagnostic(help("`{side}.password` of the plan names this file."))]
    PasswordFile {
        side: Side,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the file {} with the password of the {side} may be read by other users of this machine", path.display())]
    #[diagnostic(help(
        "chmod 0600 it, or 0640 where it belongs to root; then change the password, if others may have read it. `{side}.password` of \
         the plan names this file."
    ))]
    PasswordFileOpen { side: Side, path: PathBuf },
    #[error("the command of `{side}.password` of the plan failed")]
    PasswordCommand {
        side: Side,
        #[source]
        source: Failure,
    },
    #[error("`{side}.password` of the plan cannot be used: {problem} from {origin}")]
    UnusablePassword {
        side: Side,
        origin: String,
        problem: &'static str,
    },
}

/// Finds out how the server is reached: from the plan's own keys, then from the libpq service that it
/// names, then by default `postgres` at localhost:5432, database `postgres`.
///
/// The password comes from the plan, the service, or the password file, by libpq's rules; else there
/// is none. Certificates that neither names come from `~/.postgresql`, where libpq, and so pg_dump,
/// looks for them too (PostgreSQL manual, 32.19).
pub(crate) async fn resolve(
    server: &Server,
    environment: &impl Environment,
) -> Result<Resolved, EndpointError> {
    let service = match &server.service {
        Some(name) => Some(service_file::find(name, environment)?),
        None => None,
    };
    let sources = Sources {
        server,
        service,
        environment,
    };
    let mut warnings = sources.unused_keys();

    let hostaddr = match server.host {
        // The plan's host overrides all that the service says of the address: a hostaddr beside it would win.
        Some(_) => None,
        None => sources.service_value("hostaddr", "an IP address", |text| {
            text.parse::<IpAddr>().ok()
        })?,
    };
    let host = match sources.text("host", &server.host, "host")? {
        Some(host) => host,
        None => hostaddr.map_or_else(|| "localhost".to_owned(), |address| address.to_string()),
    };
    // libpq would try one after the other, for each of our connections and of pg_dump's.
    if host.contains(',') {
        let side = server.side;
        return Err(EndpointError::SeveralHosts { side, host });
    }
    let port = sources.port()?.unwrap_or(5432);
    let default = || "postgres".to_owned();
    let user = sources
        .text("user", &server.user, "user")?
        .unwrap_or_else(default);
    let database = sources
        .text("database", &server.database, "dbname")?
        .unwrap_or_else(default);
    sources.refuse_what_hardens()?;
    let sslmode = match server.sslmode {
        Some(mode) => mode,
        None => sources
            .setting("sslmode", "PGSSLMODE", "an sslmode", parse_sslmode)?
            .unwrap_or_default(),
    };
    let protection = sources.protection(sslmode)?;
    let (sslrootcert, sslcert, sslkey) = sources.certificates(sslmode);
    let wanted = Wanted {
        host: &host,
        port,
        database: &database,
        user: &user,
    };
    let password = sources.password(&wanted, &mut warnings).await?;
    let endpoint = Endpoint {
        side: server.side,
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
        protection,
        connect_timeout: server.connect_timeout,
        watch: Watch::default(),
        override_read_only: server.override_read_only,
    };
    if let Some(require_auth) = &endpoint.protection.require_auth
        && endpoint.is_socket()
        && !require_auth.allows(Method::None)
    {
        return Err(EndpointError::RequireAuthOnSocket {
            side: server.side,
            require_auth: require_auth.to_string(),
        });
    }
    Ok(Resolved { endpoint, warnings })
}

/// What libpq knows, protects connections, and is not known here: its key, its variable, and values that ask for nothing.
const UNSUPPORTED: [(&str, &str, &[&str]); 7] = [
    ("gssencmode", "PGGSSENCMODE", &["disable", "prefer"]),
    ("requirepeer", "PGREQUIREPEER", &[]),
    ("requiressl", "PGREQUIRESSL", &["0"]),
    ("sslcertmode", "PGSSLCERTMODE", &["allow"]),
    ("sslcrldir", "PGSSLCRLDIR", &[]),
    ("sslnegotiation", "PGSSLNEGOTIATION", &["postgres"]),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", &["3.0"]),
];

/// All that one server's address and password can come from.
struct Sources<'a, E> {
    server: &'a Server,
    service: Option<Service>,
    environment: &'a E,
}

impl<E: Environment> Sources<'_, E> {
    /// A warning for each key of the service that is not used.
    fn unused_keys(&self) -> Vec<String> {
        let Some(service) = &self.service else {
            return Vec::new();
        };
        let unused = service.unused.iter().map(|(key, _)| key.as_str());
        let mut unused: Vec<_> = unused
            .filter(|key| UNSUPPORTED.iter().all(|(known, _, _)| known != key))
            .collect();
        // The plan always has a connect_timeout, its own or the default.
        let timeout = self.server.connect_timeout.as_secs().to_string();
        if service
            .get("connect_timeout")
            .is_some_and(|text| text.trim() != timeout)
        {
            unused.push("connect_timeout");
        }
        let origin = self.origin(service);
        unused
            .into_iter()
            .map(|key| format!("`{}` of {origin} is not used", escape_control(key)))
            .collect()
    }

    fn origin(&self, service: &Service) -> String {
        format!(
            "the service \"{}\" ({})",
            escape_control(&service.name),
            service.file.display()
        )
    }

    fn variable(&self, key: &'static str, name: &str) -> Result<String, EndpointError> {
        self.environment
            .variable(name)
            .ok_or_else(|| EndpointError::NotSet {
                side: self.server.side,
                key,
                variable: name.to_owned(),
            })
    }

    /// The plan's value, or the service's.
    fn text(
        &self,
        key: &'static str,
        value: &Option<Value<String>>,
        service_key: &'static str,
    ) -> Result<Option<String>, EndpointError> {
        match value {
            Some(Value::Literal(text)) => Ok(Some(text.clone())),
            Some(Value::Env(name)) => {
                let text = self.variable(key, name)?;
                if text.is_empty() {
                    return Err(self.invalid(key, name, "a name"));
                }
                Ok(Some(text))
            }
            None => self.service_value(service_key, "a text", |text| Some(text.to_owned())),
        }
    }

    fn port(&self) -> Result<Option<u16>, EndpointError> {
        const KEY: &str = "port";
        const WANTED: &str = "a port number (1 to 65535)";
        let parse = |text: &str| text.trim().parse().ok().filter(|port| *port > 0);
        match &self.server.port {
            Some(Value::Literal(port)) => Ok(Some(*port)),
            Some(Value::Env(name)) => {
                let text = self.variable(KEY, name)?;
                match parse(&text) {
                    Some(port) => Ok(Some(port)),
                    None => Err(self.invalid(KEY, name, WANTED)),
                }
            }
            None => self.service_value(KEY, WANTED, parse),
        }
    }

    fn invalid(&self, key: &'static str, variable: &str, wanted: &'static str) -> EndpointError {
        EndpointError::Invalid {
            side: self.server.side,
            key,
            origin: format!("the environment variable {variable}"),
            value: None,
            wanted,
        }
    }

    fn service_value<T>(
        &self,
        key: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, EndpointError> {
        let Some(service) = &self.service else {
            return Ok(None);
        };
        let Some(text) = service.get(key) else {
            return Ok(None);
        };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(EndpointError::Invalid {
                side: self.server.side,
                key,
                origin: self.origin(service),
                value: Some(text.to_owned()),
                wanted,
            }),
        }
    }

    /// The service's value, or the environment's: what protects a connection holds for every program that libpq serves.
    fn setting<T>(
        &self,
        key: &'static str,
        variable: &str,
        wanted: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, EndpointError> {
        let of_service = self.service_value(key, wanted, &parse)?;
        let set = self.environment.variable(variable);
        match set.filter(|text| of_service.is_none() && !text.is_empty()) {
            None => Ok(of_service),
            Some(text) => match parse(&text) {
                Some(value) => Ok(Some(value)),
                None => Err(self.invalid(key, variable, wanted)),
            },
        }
    }

    fn refuse_what_hardens(&self) -> Result<(), EndpointError> {
        let refused = |key, origin, value| EndpointError::Unsupported {
            side: self.server.side,
            key,
            origin,
            value,
        };
        for (key, variable, harmless) in UNSUPPORTED {
            let asks = |value: &str| !value.is_empty() && !harmless.contains(&value);
            if let Some(service) = &self.service
                && let Some((_, value)) = service.unused.iter().find(|(name, _)| name == key)
                && asks(value)
            {
                return Err(refused(key, self.origin(service), value.clone()));
            }
            if let Some(value) = self.environment.variable(variable)
                && asks(&value)
            {
                let origin = format!("the environment variable {variable}");
                return Err(refused(key, origin, value));
            }
        }
        Ok(())
    }

    fn protection(&self, sslmode: SslMode) -> Result<Protection, EndpointError> {
        let require_auth = self.setting(
            "require_auth",
            "PGREQUIREAUTH",
            "a list of authentication methods as libpq has it",
            |text| RequireAuth::parse(text).ok(),
        )?;
        let channel_binding = self.setting(
            "channel_binding",
            "PGCHANNELBINDING",
            "disable, prefer or require",
            |text| {
                let mut all = ChannelBinding::ALL.into_iter();
                all.find(|binding| binding.as_str() == text)
            },
        )?;
        let min_tls = self.setting(
            "ssl_min_protocol_version",
            "PGSSLMINPROTOCOLVERSION",
            "a version of TLS up to TLSv1.3",
            |text| match text {
                "TLSv1" | "TLSv1.1" | "TLSv1.2" => Some(TlsVersion::V1_2),
                "TLSv1.3" => Some(TlsVersion::V1_3),
                _ => None,
            },
        )?;
        let sslcrl = self
            .file(&self.server.sslcrl, "sslcrl", "PGSSLCRL")
            .or_else(|| {
                self.own("root.crl")
                    .filter(|file| sslmode.is_always_tls() && file.exists())
            });
        let server = self.server;
        Ok(Protection {
            require_auth: server.require_auth.clone().or(require_auth),
            channel_binding: server
                .channel_binding
                .or(channel_binding)
                .unwrap_or_default(),
            sslcrl,
            min_tls: server.min_tls.or(min_tls).unwrap_or_default(),
            seen: Seen::default(),
        })
    }

    fn file(&self, value: &Option<PathBuf>, key: &'static str, variable: &str) -> Option<PathBuf> {
        let set = || self.environment.variable(variable).map(PathBuf::from);
        value
            .clone()
            .or_else(|| self.service.as_ref()?.get(key).map(PathBuf::from))
            .or_else(|| set().filter(|path| !path.as_os_str().is_empty()))
    }

    /// Where libpq looks for files that nothing names.
    fn own(&self, name: &str) -> Option<PathBuf> {
        Some(self.environment.home()?.join(".postgresql").join(name))
    }

    /// `sslrootcert`, `sslcert`, `sslkey`.
    fn certificates(
        &self,
        sslmode: SslMode,
    ) -> (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>) {
        let existing = |name: &str| self.own(name).filter(|file| file.exists());
        let root = self
            .file(&self.server.sslrootcert, "sslrootcert", "PGSSLROOTCERT")
            // Where there is a root certificate, `require` checks it as `verify-ca` does (PostgreSQL manual, 32.19.1).
            .or_else(|| existing("root.crt").filter(|_| sslmode.is_always_tls()));
        let certificate = self
            .file(&self.server.sslcert, "sslcert", "PGSSLCERT")
            .or_else(|| existing("postgresql.crt").filter(|_| sslmode != SslMode::Disable));
        // Without asking whether it exists: a certificate without its key is an error, not no certificate.
        let key = self
            .file(&self.server.sslkey, "sslkey", "PGSSLKEY")
            .or_else(|| self.own("postgresql.key").filter(|_| certificate.is_some()));
        (root, certificate, key)
    }

    async fn password(
        &self,
        wanted: &Wanted<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Password>, EndpointError> {
        let side = self.server.side;
        if let Some(source) = &self.server.password {
            let text = ask(side, source, self.environment).await?;
            if matches!(source, PasswordSource::Env(_)) {
                return Ok(Some(Password::fixed(text)));
            }
            let (source, environment) = (source.clone(), self.environment.clone());
            return Ok(Some(Password::asked(text, move || {
                let (source, environment) = (source.clone(), environment.clone());
                Box::pin(async move {
                    let asked = ask(side, &source, &environment).await;
                    asked.map_err(|error| chain(&error))
                })
            })));
        }
        let service = self.service.as_ref();
        if let Some(password) = service.and_then(|service| service.password.clone()) {
            return Ok(Some(Password::fixed(password)));
        }
        let file = service
            .and_then(|service| service.get("passfile").map(PathBuf::from))
            .or_else(|| self.environment.variable("PGPASSFILE").map(PathBuf::from))
            .or_else(|| Some(self.environment.home()?.join(".pgpass")));
        Ok(file.and_then(|file| {
            let text = password_file::look_up(&file, wanted, warnings)?;
            let wanted = wanted.to_owned();
            Some(Password::asked(text, move || {
                let found = password_file::look_up(&file, &wanted.as_wanted(), &mut Vec::new());
                let error = format!("the password file {} has none any more", file.display());
                Box::pin(async move { found.ok_or(error) })
            }))
        }))
    }
}

fn shown(value: &Option<String>) -> String {
    let value = value.as_ref();
    value.map_or_else(String::new, |value| format!(": {value:?}"))
}

/// What the plan's source of a password says now.
async fn ask(
    side: Side,
    source: &PasswordSource,
    environment: &impl Environment,
) -> Result<SecretString, EndpointError> {
    let (bytes, origin) = match source {
        PasswordSource::Env(name) => {
            let value = environment
                .variable(name)
                .ok_or_else(|| EndpointError::NotSet {
                    side,
                    key: "password",
                    variable: name.to_owned(),
                })?;
            (
                value.into_bytes(),
                format!("the environment variable {name}"),
            )
        }
        PasswordSource::File(path) if is_readable_by_others(path) => {
            return Err(EndpointError::PasswordFileOpen {
                side,
                path: path.clone(),
            });
        }
        PasswordSource::File(path) => (
            std::fs::read(path).map_err(|source| EndpointError::PasswordFile {
                side,
                path: path.clone(),
                source,
            })?,
            format!("the file {}", path.display()),
        ),
        PasswordSource::Command(command) => (
            environment
                .output_of(command)
                .await
                .map_err(|source| EndpointError::PasswordCommand { side, source })?,
            "its command".to_owned(),
        ),
    };
    let is_env = matches!(source, PasswordSource::Env(_));
    first_line(bytes, is_env).map_err(|problem| EndpointError::UnusablePassword {
        side,
        origin,
        problem,
    })
}

/// The error with what it comes from.
fn chain(error: &EndpointError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The first line, without what ends it; of an environment variable, all of it.
fn first_line(bytes: Vec<u8>, is_whole: bool) -> Result<SecretString, &'static str> {
    let text = String::from_utf8(bytes).map_err(|_| "a password that is not UTF-8")?;
    let line = if is_whole {
        text.as_str()
    } else {
        text.lines().next().unwrap_or("")
    };
    if line.is_empty() {
        Err("an empty password")
    } else if line.contains('\0') {
        Err("a password with a zero byte")
    } else {
        Ok(line.into())
    }
}

fn parse_sslmode(text: &str) -> Option<SslMode> {
    [
        SslMode::Disable,
        SslMode::Allow,
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ]
    .into_iter()
    .find(|mode| mode.as_str() == text)
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
