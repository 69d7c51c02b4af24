//! Certificate and key files to a TLS acceptor.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{ServerError, Tls};

pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ServerError> {
    let Tls { cert_file, key_file } = tls;
    let unread = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| ServerError::Pem { path, source }
    };
    let certificates = CertificateDer::pem_file_iter(cert_file)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .map_err(unread(cert_file))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(unread(key_file))?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
    let mut config = config.map_err(|source| ServerError::Tls {
        cert_file: cert_file.clone(),
        key_file: key_file.clone(),
        source,
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
