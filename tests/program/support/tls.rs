//! A certificate authority and what it signed, for servers with `ssl = on`.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::server::random_word;

/// The files of one certificate authority, in one directory.
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes an authority, a certificate for the server `localhost` (and not for 127.0.0.1), and one
    /// for the client `postgres`.
    pub fn generate(directory: &Path) -> Certificates {
        let mut authority = CertificateParams::default();
        authority
            .distinguished_name
            .push(DnType::CommonName, random_word("authority"));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap())
            .expect("a certificate authority");
        fs::write(directory.join("ca.pem"), authority.pem()).unwrap();

        let mut server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        sign(directory, "server", server, &authority);

        let mut client = CertificateParams::default();
        // Method cert: the common name is the role's name (PostgreSQL manual, 20.12).
        client
            .distinguished_name
            .push(DnType::CommonName, "postgres");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        sign(directory, "client", client, &authority);
        Certificates {
            directory: directory.to_owned(),
        }
    }

    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    pub fn server_certificate(&self) -> PathBuf {
        self.directory.join("server.pem")
    }

    pub fn server_key(&self) -> PathBuf {
        self.directory.join("server.key")
    }

    pub fn client_certificate(&self) -> PathBuf {
        self.directory.join("client.pem")
    }

    pub fn client_key(&self) -> PathBuf {
        self.directory.join("client.key")
    }
}

fn sign(
    directory: &Path,
    name: &str,
    params: CertificateParams,
    authority: &CertifiedIssuer<'_, KeyPair>,
) {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a signature");
    fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}
