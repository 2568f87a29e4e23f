//! Looks at the server's certificate as libpq does, as far as `sslmode` asks for it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use x509_cert::Certificate;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use x509_cert::der::{Decode, Encode};

/// How closely the server's certificate is looked at.
#[derive(Debug)]
pub(super) enum Check {
    /// Not at all: the connection is encrypted, and leads to an unknown server, which has the certificate's key.
    Nothing,
    /// It is signed by one of these, directly or through others.
    Chain(Trusted),
    /// And it is for the host that we asked for.
    ChainAndName(Trusted),
}

/// The certificates of `sslrootcert`.
#[derive(Debug)]
pub(super) struct Trusted {
    /// As ends of a chain.
    pub(super) roots: RootCertStore,
    /// As they are.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(check: Check, provider: &Arc<CryptoProvider>) -> Self {
        Verifier {
            check,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn verify_chain(
        &self,
        trusted: &Trusted,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // The manual's own recipe (19.9.5 "Creating Certificates") makes one self-signed certificate
        // that the server shows and the client trusts. As a chain it would be a CA in a server's
        // place; being the very one that was trusted, it needs no chain.
        if trusted
            .certificates
            .iter()
            .any(|known| known == certificate)
        {
            return verify_dates(certificate, now);
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(certificate)?,
            &trusted.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.check {
            Check::Nothing => {}
            Check::Chain(trusted) => self.verify_chain(trusted, certificate, intermediates, now)?,
            Check::ChainAndName(trusted) => {
                self.verify_chain(trusted, certificate, intermediates, now)?;
                verify_name(certificate, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.check {
            Check::Nothing => {
                verify_tls12_signature_by_key(message, certificate, signature, &self.algorithms)
            }
            _ => verify_tls12_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.check {
            Check::Nothing => {
                let key = parse(certificate)?.tbs_certificate.subject_public_key_info;
                let key = key.to_der().map_err(|_| CertificateError::BadEncoding)?;
                let key = SubjectPublicKeyInfoDer::from(key);
                verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
            }
            _ => verify_tls13_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether who answers has the private key of this certificate. Also where nobody vouches for the certificate: SCRAM's
/// channel binding is to it, and would say nothing where another could show it. The certificate may be of version 1,
/// as old servers have them, which webpki does not read.
fn verify_tls12_signature_by_key(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = parse(certificate)?.tbs_certificate.subject_public_key_info;
    let identifier = key.algorithm.oid.to_der().and_then(|mut identifier| {
        if let Some(parameters) = &key.algorithm.parameters {
            identifier.extend(parameters.to_der()?);
        }
        Ok(identifier)
    });
    let identifier = identifier.map_err(|_| CertificateError::BadEncoding)?;
    let is_valid = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signature.scheme)
        .flat_map(|(_, algorithms)| *algorithms)
        .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == identifier)
        .any(|algorithm| {
            let key = key.subject_public_key.raw_bytes();
            algorithm
                .verify_signature(key, message, signature.signature())
                .is_ok()
        });
    if is_valid {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

fn verify_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = parse(certificate)?.tbs_certificate.validity;
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after.to_unix_duration().as_secs() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

/// The host's name must be among the certificate's subjectAltNames; where it has none, be its common
/// name, as libpq has it (PostgreSQL manual, 32.19.1 "Client Verification of Server Certificates").
fn verify_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let error = match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let subject = parse(certificate)?;
    let has_alternatives = subject
        .tbs_certificate
        .extensions
        .iter()
        .flatten()
        .any(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME);
    let wanted = name.to_str();
    let is_named = !has_alternatives
        && common_names(&subject).any(|common| match name {
            ServerName::DnsName(_) => matches_host(common, &wanted),
            _ => common == wanted,
        });
    if is_named { Ok(()) } else { Err(error) }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

fn common_names(certificate: &Certificate) -> impl Iterator<Item = &str> {
    certificate
        .tbs_certificate
        .subject
        .0
        .iter()
        .flat_map(|part| part.0.iter())
        .filter(|attribute| attribute.oid == COMMON_NAME)
        // Host names are ASCII, which every kind of string but the 16- and 32-bit ones spells alike.
        .filter_map(|attribute| std::str::from_utf8(attribute.value.value()).ok())
}

/// libpq's rule: equal but for case, or `*.` and then the host's name from its first dot on.
fn matches_host(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(suffix), Some((label, rest))) => {
            !label.is_empty() && suffix.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_names_match_hosts_by_the_rules_of_libpq() {
        for (pattern, host, is_match) in [
            ("db.example.com", "DB.example.COM", true),
            ("db.example.com", "db.example.org", false),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*", "db", false),
            ("d*.example.com", "db.example.com", false),
            ("db.example.com\0.evil.org", "db.example.com", false),
        ] {
            assert_eq!(matches_host(pattern, host), is_match, "{pattern} {host}");
        }
    }
}
