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
use x509_cert::der::{Decode, Encode};

use crate::plan::{Seen, TlsVersion};

/// How closely the server's certificate is looked at.
#[derive(Debug)]
pub(super) enum Check {
    /// Not at all: the connection is encrypted, and leads to an unknown server, which has the certificate's key.
    Nothing,
    /// It is signed by one of these, directly or through others.
    Chain(Trusted),
    /// And the host that we asked for is among its subjectAltNames: libpq takes a common name where there are none, which no CA of
    /// today answers for.
    ChainAndName(Trusted),
}

/// The certificates of `sslrootcert`.
#[derive(Debug)]
pub(super) struct Trusted {
    /// As ends of a chain.
    pub(super) roots: RootCertStore,
    /// As they are.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Where some may be revoked: looks at all that the others say, and at the name.
    pub(super) revoking: Option<Arc<dyn ServerCertVerifier>>,
}

#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Seen,
}

impl Verifier {
    pub(super) fn new(check: Check, provider: &Arc<CryptoProvider>, seen: Seen) -> Self {
        Verifier {
            check,
            algorithms: provider.signature_verification_algorithms,
            seen,
        }
    }

    fn verify_chain(
        &self,
        trusted: &Trusted,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if let Some(revoking) = &trusted.revoking {
            let verified =
                revoking.verify_server_cert(certificate, intermediates, server_name, &[], now);
            return match verified {
                // The name comes last, and is looked at where it matters.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => Ok(()),
                verified => verified.map(drop),
            };
        }
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
            Check::Chain(trusted) => {
                self.verify_chain(trusted, certificate, intermediates, server_name, now)?;
            }
            Check::ChainAndName(trusted) => {
                self.verify_chain(trusted, certificate, intermediates, server_name, now)?;
                verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
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
        self.seen.update(|link| link.tls = Some(TlsVersion::V1_2));
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
        self.seen.update(|link| link.tls = Some(TlsVersion::V1_3));
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

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}
