//! `tls_config` to what rustls needs: who is trusted, under which name, and what we show.

use std::path::Path;
use std::sync::Arc;

use pitcrew_exporter::secret::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};

use super::client::{ClientError, secret};
use super::{TlsConfig, TlsVersion};

/// Reads the files and builds what a connection starts from.
pub(super) fn client_config(tls: &TlsConfig, http2: bool) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // Empty for those that the system trusts.
    let own = certificates("tls_config.ca", tls.ca.as_deref(), tls.ca_file.as_deref())?;
    let verifier = Checker {
        inner: trust(&own, &provider)?,
        own,
        name: tls.server_name.as_deref().map(server_name).transpose()?,
        skip: tls.insecure_skip_verify,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity(tls)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Ok(config)
}

impl TlsConfig {
    /// What a connection that is not HTTP starts from; reads the files.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn client_config(&self) -> Result<ClientConfig, ClientError> {
        client_config(self, false)
    }

    pub(super) fn files(&self) -> Vec<&Path> {
        [&self.ca_file, &self.cert_file, &self.key_file]
            .into_iter()
            .filter_map(|file| file.as_deref())
            .collect()
    }
}

fn versions(tls: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    let allowed = |version| {
        tls.min_version.is_none_or(|min| min <= version)
            && tls.max_version.is_none_or(|max| version <= max)
    };
    let all = [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)];
    all.into_iter().filter(|(version, _)| allowed(*version)).map(|(_, known)| known).collect()
}

fn server_name(text: &str) -> Result<ServerName<'static>, ClientError> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|_| ClientError::ServerName(text.to_owned()))
}

fn trust(
    own: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    if own.is_empty() {
        let system = rustls_platform_verifier::Verifier::new(Arc::clone(provider))?;
        return Ok(Arc::new(system));
    }
    let mut roots = RootCertStore::empty();
    for certificate in own {
        roots.add(certificate.clone())?;
    }
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = builder.build().map_err(|error| Error::General(error.to_string()))?;
    Ok(verifier)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(tls: &TlsConfig) -> Result<Option<Identity>, ClientError> {
    let chain = certificates("tls_config.cert", tls.cert.as_deref(), tls.cert_file.as_deref())?;
    if chain.is_empty() {
        return Ok(None);
    }
    let key: Secret = secret(tls.key.as_ref(), tls.key_file.as_deref())?;
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(|source| {
        ClientError::Pem {
            place: place("tls_config.key", tls.key_file.as_deref()),
            what: "key",
            source,
        }
    })?;
    Ok(Some((chain, key)))
}

/// The certificates of a text or a file, none where neither is given.
fn certificates(
    key: &str,
    inline: Option<&str>,
    file: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let pem = match (inline, file) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(path)) => std::fs::read(path)
            .map_err(|source| ClientError::Read { path: path.to_owned(), source })?,
        (None, None) => return Ok(Vec::new()),
    };
    let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|source| ClientError::Pem {
        place: place(key, file),
        what: "certificates",
        source,
    })?;
    match read.is_empty() {
        true => Err(ClientError::NoCertificate { place: place(key, file) }),
        false => Ok(read),
    }
}

fn place(key: &str, file: Option<&Path>) -> String {
    file.map_or(key.to_owned(), |path| format!("{key}_file {}", path.display()))
}

/// The usual checks with Prometheus' two exceptions, and one of Go's.
#[derive(Debug)]
struct Checker {
    inner: Arc<dyn ServerCertVerifier>,
    own: Vec<CertificateDer<'static>>,
    name: Option<ServerName<'static>>,
    skip: bool,
}

impl ServerCertVerifier for Checker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.skip {
            return Ok(ServerCertVerified::assertion());
        }
        let name = self.name.as_ref().unwrap_or(server_name);
        let checked =
            self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match checked {
            // A self-signed certificate that the user trusts as it is, as exporters' guides make
            // them; its time has been checked before this error, its name has not.
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(cause))))
                if matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
                    && self.own.iter().any(|own| own == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.skip {
            // The certificate may be one that cannot even be parsed here.
            true => Ok(HandshakeSignatureValid::assertion()),
            false => self.inner.verify_tls12_signature(message, cert, dss),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.skip {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => self.inner.verify_tls13_signature(message, cert, dss),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
