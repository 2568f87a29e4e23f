//! How a connection is protected, in libpq's words (PostgreSQL manual, 32.1.2 "Parameter Key Words").

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way in which servers have their clients say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// The password, in clear.
    Password,
    Md5,
    Gss,
    Sspi,
    ScramSha256,
    OAuth,
    /// Not at all, or by what is no part of the protocol, such as a client certificate.
    None,
}

impl Method {
    const ALL: [Method; 7] = [
        Method::Password,
        Method::Md5,
        Method::Gss,
        Method::Sspi,
        Method::ScramSha256,
        Method::OAuth,
        Method::None,
    ];

    /// The word libpq uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Method::Password => "password",
            Method::Md5 => "md5",
            Method::Gss => "gss",
            Method::Sspi => "sspi",
            Method::ScramSha256 => "scram-sha-256",
            Method::OAuth => "oauth",
            Method::None => "none",
        }
    }
}

/// `require_auth`: the methods that a server may ask for, or with `!` before each those that it may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequireAuth {
    methods: Vec<Method>,
    is_negated: bool,
}

impl RequireAuth {
    /// Reads libpq's list, which has no blanks.
    ///
    /// # Errors
    ///
    /// What is wrong with it, going on after the key's name.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let is_negated = text.starts_with('!');
        let mut methods = Vec::new();
        for word in text.split(',') {
            let (name, is_not) = match word.strip_prefix('!') {
                Some(name) => (name, true),
                None => (word, false),
            };
            if is_not != is_negated {
                return Err("has methods with and without `!`");
            }
            let known = Method::ALL.into_iter().find(|one| one.as_str() == name);
            let method = known.ok_or("is not a list of libpq's authentication methods")?;
            if methods.contains(&method) {
                return Err("names a method twice");
            }
            methods.push(method);
        }
        Ok(RequireAuth {
            methods,
            is_negated,
        })
    }

    pub(crate) fn allows(&self, method: Method) -> bool {
        self.methods.contains(&method) != self.is_negated
    }

    /// Whether it is named as one that the server may ask for.
    pub(crate) fn names(&self, method: Method) -> bool {
        !self.is_negated && self.methods.contains(&method)
    }
}

impl fmt::Display for RequireAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negated { "!" } else { "" };
        for (index, method) in self.methods.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{sign}{}", method.as_str())?;
        }
        Ok(())
    }
}

/// libpq's `channel_binding`: SCRAM's answer holds for this server's certificate alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it; the default.
    #[default]
    Prefer,
    /// With it or no connection.
    Require,
}

impl ChannelBinding {
    pub(crate) const ALL: [ChannelBinding; 3] = [
        ChannelBinding::Disable,
        ChannelBinding::Prefer,
        ChannelBinding::Require,
    ];

    /// The word libpq uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Prefer => "prefer",
            ChannelBinding::Require => "require",
        }
    }
}

/// The oldest version of TLS that is used, libpq's `ssl_min_protocol_version`. There is nothing older here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) enum TlsVersion {
    /// The default.
    #[default]
    #[serde(rename = "TLSv1.2")]
    V1_2,
    /// Nothing older than the newest.
    #[serde(rename = "TLSv1.3")]
    V1_3,
}

impl TlsVersion {
    /// The word libpq uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TlsVersion::V1_2 => "TLSv1.2",
            TlsVersion::V1_3 => "TLSv1.3",
        }
    }
}

/// What protects the connections to a server beside `sslmode` and its certificates, and what was seen of that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protection {
    pub require_auth: Option<RequireAuth>,
    pub channel_binding: ChannelBinding,
    /// Certificates that were revoked.
    pub sslcrl: Option<PathBuf>,
    pub min_tls: TlsVersion,
    pub seen: Seen,
}

/// How the last connection was protected; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Link>>);

/// One connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    /// `None`: without TLS.
    pub tls: Option<TlsVersion>,
    /// What the server asked for; `None`: nothing.
    pub method: Option<Method>,
    /// Whether the server offered SCRAM with channel binding.
    pub offers_binding: bool,
}

impl Seen {
    pub(crate) fn get(&self) -> Link {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Link)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_methods_mean_what_they_mean_to_libpq() {
        let allowed = |text: &str| {
            let list = RequireAuth::parse(text).unwrap();
            assert_eq!(list.to_string(), text);
            let methods = Method::ALL
                .into_iter()
                .filter(|method| list.allows(*method));
            methods.map(Method::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(allowed("scram-sha-256"), "scram-sha-256");
        assert_eq!(allowed("none,md5"), "md5 none");
        assert_eq!(
            allowed("!password,!md5,!none"),
            "gss sspi scram-sha-256 oauth"
        );
        for text in [
            "",
            ",",
            "scram",
            "md5,!none",
            "!md5,none",
            "md5,md5",
            "md5, none",
            "MD5",
        ] {
            assert!(RequireAuth::parse(text).is_err(), "{text:?}");
        }
        let not_in_clear = RequireAuth::parse("!md5").unwrap();
        assert!(not_in_clear.allows(Method::Password) && !not_in_clear.names(Method::Password));
    }
}
