//! The certificate by which the control plane knows this agent: made at each start, vouched for by the heartbeat that carries
//! it, which only the holder of the token can send.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;

/// What is wrong with the certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// It could not be used.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
}

/// A server's identity.
pub struct Identity {
    /// The certificate in PEM, for `agent_verify_ca`.
    pub certificate: String,
    /// For the listener; holds the private key, which exists nowhere else.
    pub config: Arc<rustls::ServerConfig>,
}

/// Makes a self-signed certificate for an address. Its validity has no practical bounds: the clock of a machine in a ramdisk
/// may be years off, and the key lives only until power off.
///
/// # Errors
/// [`TlsError`].
pub fn identity(address: IpAddr) -> Result<Identity, TlsError> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new([address.to_string()])?;
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("ramdisk agent at {address}"));
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    Ok(Identity { certificate: certificate.pem(), config: Arc::new(config) })
}
