//! The certificate of an agent, made at each start, and whom agents trust.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// By what a server is known.
pub(crate) struct Identity {
    /// For `agent_verify_ca`.
    pub(crate) certificate: String,
    /// For the listener.
    pub(crate) config: Arc<rustls::ServerConfig>,
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes a self-signed certificate for an address.
///
/// # Errors
/// The libraries refuse.
pub(crate) fn identity(address: Ipv4Addr) -> anyhow::Result<Identity> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new([address.to_string()])?;
    params.distinguished_name.push(rcgen::DnType::CommonName, address.to_string());
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    Ok(Identity { certificate: certificate.pem(), config: Arc::new(config) })
}

/// A client that trusts the authorities in a PEM file.
///
/// # Errors
/// There are none in it, or they cannot be read.
pub(crate) fn trusting(pem: &[u8]) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.context("reading a certificate")?)?;
    }
    anyhow::ensure!(!roots.is_empty(), "there is no certificate in it");
    let builder = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
