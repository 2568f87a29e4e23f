//! TLS by libpq's `sslmode` (PostgreSQL manual, 32.19 "SSL Support"), on rustls.
//!
//! | sslmode | encrypted | certificate |
//! | --- | --- | --- |
//! | disable | no | – |
//! | allow | only where the server refuses plain text | not checked |
//! | prefer | where the server can | not checked |
//! | require | yes | signed by `sslrootcert`, where there is one |
//! | verify-ca | yes | signed by `sslrootcert` |
//! | verify-full | yes | signed by `sslrootcert`, and for this host |

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::verifier::{Check, Trusted, Verifier};
use crate::plan::{Endpoint, Side, SslMode, TlsVersion};

/// The value of `sslrootcert` that means the operating system's certificates.
const SYSTEM_ROOTS: &str = "system";

/// A file with a certificate or key that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum TlsError {
    #[error("cannot read {key} of the {side}, {}", path.display())]
    #[diagnostic(help("It must be a readable file in PEM format."))]
    Unreadable {
        side: Side,
        key: &'static str,
        path: PathBuf,
        source: pem::Error,
    },
    #[error("{key} of the {side}, {}, contains no {wanted} in PEM format", path.display())]
    Empty {
        side: Side,
        key: &'static str,
        path: PathBuf,
        wanted: &'static str,
    },
    #[error("{key} of the {side}, {}, cannot be used", path.display())]
    Unusable {
        side: Side,
        key: &'static str,
        path: PathBuf,
        source: rustls::Error,
    },
    #[error("the certificates of the operating system cannot be used: {reason}")]
    #[diagnostic(help("Install them (ca-certificates), or name a file by `{side}.sslrootcert`."))]
    NoSystemRoots { side: Side, reason: String },
    #[error("`{side}.sslmode` = \"{mode}\" needs `{side}.sslrootcert`")]
    #[diagnostic(help(
        "Name the file with the CA's certificate, or \"system\" for the certificates that the \
         operating system trusts."
    ))]
    NoRoots { side: Side, mode: &'static str },
    #[error("`{side}.sslrootcert` = \"system\" needs `{side}.sslmode` = \"verify-full\"")]
    #[diagnostic(help(
        "Anyone can get a certificate from a public CA: only the host name says whose it is."
    ))]
    WeakSystemRoots { side: Side },
    #[error("`{side}.sslcert` and `{side}.sslkey` must be set together")]
    Incomplete { side: Side },
    #[error("other users may read {key} of the {side}, {}", path.display())]
    #[diagnostic(help(
        "Take their permissions away (chmod 0600); a file of root's may be readable for its group (chmod 0640)."
    ))]
    Readable {
        side: Side,
        key: &'static str,
        path: PathBuf,
    },
    #[error("the client certificate of the {side} does not match its key")]
    ClientCertificate { side: Side, source: rustls::Error },
}

/// What to connect with, for every `sslmode`. Reads the files that the endpoint names.
pub(super) fn connector(endpoint: &Endpoint) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let check = check(endpoint)?;
    let versions: &[&SupportedProtocolVersion] = match endpoint.protection.min_tls {
        TlsVersion::V1_2 => &[&TLS12, &TLS13],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let verifier = Verifier::new(check, &provider, endpoint.protection.seen.clone());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("ring supports TLS 1.2 and 1.3")
        // Only libpq's rules need it, which are not those of browsers: Verifier checks what `sslmode` asks for.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match client_certificate(endpoint)? {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            builder
                .with_client_auth_cert(certificates, key)
                .map_err(|source| TlsError::ClientCertificate {
                    side: endpoint.side,
                    source,
                })?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn check(endpoint: &Endpoint) -> Result<Check, TlsError> {
    let side = endpoint.side;
    let mode = endpoint.sslmode;
    if is_plain(endpoint) {
        return Ok(Check::Nothing);
    }
    if endpoint.sslrootcert.as_deref() == Some(Path::new(SYSTEM_ROOTS))
        && mode != SslMode::VerifyFull
    {
        return Err(TlsError::WeakSystemRoots { side });
    }
    match mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => Ok(Check::Nothing),
        SslMode::Require if endpoint.sslrootcert.is_none() => Ok(Check::Nothing),
        SslMode::Require | SslMode::VerifyCa => Ok(Check::Chain(trusted(endpoint)?)),
        SslMode::VerifyFull => Ok(Check::ChainAndName(trusted(endpoint)?)),
    }
}

fn trusted(endpoint: &Endpoint) -> Result<Trusted, TlsError> {
    let side = endpoint.side;
    let Some(path) = &endpoint.sslrootcert else {
        return Err(TlsError::NoRoots {
            side,
            mode: endpoint.sslmode.as_str(),
        });
    };
    let mut roots = RootCertStore::empty();
    if path == Path::new(SYSTEM_ROOTS) {
        let found = rustls_native_certs::load_native_certs();
        // Some of an operating system's certificates may be of a kind that rustls does not know.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reason = match found.errors.first() {
                Some(error) => error.to_string(),
                None => "there are none".to_owned(),
            };
            return Err(TlsError::NoSystemRoots { side, reason });
        }
        return Ok(Trusted {
            revoking: revoking(endpoint, &roots)?,
            roots,
            certificates: Vec::new(),
        });
    }
    let certificates = certificates(side, "sslrootcert", path)?;
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|source| TlsError::Unusable {
                side,
                key: "sslrootcert",
                path: path.clone(),
                source,
            })?;
    }
    Ok(Trusted {
        revoking: revoking(endpoint, &roots)?,
        roots,
        certificates,
    })
}

/// Looks at the lists of revoked certificates too, where there are any: then each certificate of a chain has to be in the reach of
/// one that is still valid, as OpenSSL has it.
fn revoking(
    endpoint: &Endpoint,
    roots: &RootCertStore,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, TlsError> {
    let Some(path) = &endpoint.protection.sslcrl else {
        return Ok(None);
    };
    let (side, key) = (endpoint.side, "sslcrl");
    let lists: Vec<CertificateRevocationListDer<'static>> =
        items(side, key, path, "list of revoked certificates")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider)
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build();
    match verifier {
        Ok(verifier) => Ok(Some(verifier)),
        Err(error) => Err(TlsError::Unusable {
            side,
            key,
            path: path.clone(),
            source: rustls::Error::General(error.to_string()),
        }),
    }
}

/// No connection will ever be encrypted, so no file is read: libpq does not complain of them either.
fn is_plain(endpoint: &Endpoint) -> bool {
    endpoint.sslmode == SslMode::Disable || endpoint.is_socket()
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(endpoint: &Endpoint) -> Result<Option<ClientCertificate>, TlsError> {
    let side = endpoint.side;
    if is_plain(endpoint) {
        return Ok(None);
    }
    let (certificate, key) = match (&endpoint.sslcert, &endpoint.sslkey) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => return Err(TlsError::Incomplete { side }),
    };
    let certificates = certificates(side, "sslcert", certificate)?;
    if is_readable_by_others(key) {
        return Err(TlsError::Readable {
            side,
            key: "sslkey",
            path: key.clone(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty {
            side,
            key: "sslkey",
            path: key.clone(),
            wanted: "unencrypted private key",
        },
        source => TlsError::Unreadable {
            side,
            key: "sslkey",
            path: key.clone(),
            source,
        },
    })?;
    Ok(Some((certificates, key)))
}

/// As libpq has it (PostgreSQL manual, 32.19.2 "Client Certificates"): of root's file its group is no other. What cannot be looked at is
/// told by who reads it, and a pipe (`<(…)` of a shell) is nobody's file.
pub(super) fn is_readable_by_others(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| {
        let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
        metadata.is_file() && metadata.mode() & others != 0
    })
}

fn certificates(
    side: Side,
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    items(side, key, path, "certificate")
}

/// All of one kind that are in a file, at least one.
fn items<T: PemObject>(
    side: Side,
    key: &'static str,
    path: &Path,
    wanted: &'static str,
) -> Result<Vec<T>, TlsError> {
    let items = T::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsError::Unreadable {
            side,
            key,
            path: path.to_owned(),
            source,
        })?;
    if items.is_empty() {
        return Err(TlsError::Empty {
            side,
            key,
            path: path.to_owned(),
            wanted,
        });
    }
    Ok(items)
}
