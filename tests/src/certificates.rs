//! Authorities and certificates for servers and clients, valid and not.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// A private authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    der: CertificateDer<'static>,
}

/// A certificate and its key.
pub struct Identity {
    pub pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let (pem, der) = (own.pem(), own.der().clone());
        Authority { issuer: Issuer::new(params, key), pem, der }
    }

    /// A certificate for a host name or an address, as server or as client.
    pub fn identity(&self, name: &str) -> Identity {
        self.sign(name, 4096)
    }

    /// One whose time is over.
    pub fn expired(&self, name: &str) -> Identity {
        self.sign(name, 2001)
    }

    fn sign(&self, name: &str, year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let own = params(name, year).signed_by(&key, &self.issuer).unwrap();
        Identity { pem: own.pem(), der: own.der().clone(), key }
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Identity {
    /// Signed by itself and, as guides make them, an authority.
    pub fn self_signed(name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, 4096);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        Identity { pem: own.pem(), der: own.der().clone(), key }
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A server that shows this certificate and, with `clients`, wants one of theirs.
    pub fn server(&self, clients: Option<&Authority>) -> rustls::ServerConfig {
        self.server_of(clients, rustls::DEFAULT_VERSIONS)
    }

    pub fn server_of(
        &self,
        clients: Option<&Authority>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ServerConfig {
        crate::process::tls();
        let builder = rustls::ServerConfig::builder_with_protocol_versions(versions);
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        builder.with_single_cert(vec![self.der.clone()], key).unwrap()
    }
}

/// Writes a file that only its owner can read.
pub fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, mode).unwrap();
}

fn params(name: &str, year: i32) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}
