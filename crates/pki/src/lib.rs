//! The certificates of a cluster: its own authority, server and client certificates, and signing of requests.
//!
//! A crate of its own because the API signs requests and the engine issues certificates, and neither may depend on the other.

use std::time::{Duration, SystemTime};

use model::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

/// How long an authority and what it issues are valid.
const VALIDITY: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// Clocks of machines may be behind: certificates are valid from this long ago.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);
/// Least size of an RSA key that is signed, in bits.
const LEAST_RSA_BITS: usize = 2048;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// What was given cannot be used: not PEM, not a request, wrong signature, something forbidden in it.
    #[error("cannot use the {what}: {reason}")]
    Invalid {
        /// What was given.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Making a key or a signature failed.
    #[error("could not make the {what}: {reason}")]
    Failed {
        /// What was to be made.
        what: &'static str,
        /// The library's words.
        reason: String,
    },
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PKCS #8 PEM.
    pub key_pem: Secret,
}

/// A certificate authority with its key.
pub struct Authority {
    /// Its certificate, PEM.
    pub cert_pem: String,
    /// Its private key, PKCS #8 PEM.
    pub key_pem: Secret,
    issuer: Issuer<'static, KeyPair>,
}

fn failed(what: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |error| PkiError::Failed { what, reason: error.to_string() }
}

fn invalid(what: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |error| PkiError::Invalid { what, reason: error.to_string() }
}

impl Authority {
    /// Makes a new authority (ECDSA P-256, five years).
    ///
    /// # Errors
    /// `Failed` if the system gives no random bytes.
    pub fn generate(common_name: &str, now: SystemTime) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed("key"))?;
        let mut params = params(common_name, None, now);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(failed("certificate"))?;
        let key_pem = Secret::new(key.serialize_pem());
        Ok(Self { cert_pem: certificate.pem(), key_pem, issuer: Issuer::new(params, key) })
    }

    /// Takes up an authority that was stored.
    ///
    /// # Errors
    /// `Invalid` if certificate and key are not PEM or do not belong together.
    pub fn load(cert_pem: &str, key_pem: &Secret) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem.reveal()).map_err(invalid("key of the authority"))?;
        let wrong = |reason: String| PkiError::Invalid { what: "certificate of the authority", reason };
        let (_, pem) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let certificate = pem.parse_x509().map_err(|error| wrong(error.to_string()))?;
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(wrong("its key is another one".into()));
        }
        let issuer = Issuer::from_ca_cert_pem(cert_pem, key).map_err(invalid("certificate of the authority"))?;
        Ok(Self { cert_pem: cert_pem.to_owned(), key_pem: key_pem.clone(), issuer })
    }

    /// Makes a key and a certificate for a server with these names and addresses (each a DNS name or an IP address).
    ///
    /// # Errors
    /// `Invalid` if a name is none.
    pub fn issue_server(&self, common_name: &str, names: &[String], now: SystemTime) -> Result<Identity, PkiError> {
        let mut wanted = CertificateParams::new(names.to_vec()).map_err(invalid("name of the server"))?;
        let common = params(common_name, None, now);
        (wanted.distinguished_name, wanted.not_before, wanted.not_after) = (common.distinguished_name, common.not_before, common.not_after);
        // A member of a cluster is server and client of its peers.
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(wanted)
    }

    /// Makes a key and a certificate for a client.
    ///
    /// # Errors
    /// `Failed` if the system gives no random bytes.
    pub fn issue_client(&self, common_name: &str, organization: Option<&str>, now: SystemTime) -> Result<Identity, PkiError> {
        let mut wanted = params(common_name, organization, now);
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(wanted)
    }

    fn issue(&self, mut wanted: CertificateParams) -> Result<Identity, PkiError> {
        wanted.is_ca = IsCa::ExplicitNoCa;
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
        wanted.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed("key"))?;
        let certificate = wanted.signed_by(&key, &self.issuer).map_err(failed("certificate"))?;
        Ok(Identity { cert_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
    }

    /// Signs a certificate request (PEM; RSA or EC key) as a client certificate and returns that, PEM. The subject is taken over; of
    /// the requested extensions none but what a client certificate has.
    ///
    /// # Errors
    /// `Invalid` if it is no request, its signature is wrong, its key is too weak, or it demands what is not granted.
    pub fn sign_csr(&self, csr_pem: &str, now: SystemTime) -> Result<String, PkiError> {
        let what = "certificate request";
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(invalid(what))?;
        let weak = |reason: &str| PkiError::Invalid { what, reason: reason.to_owned() };
        let (_, pem) = x509_parser::pem::parse_x509_pem(csr_pem.as_bytes()).map_err(|error| weak(&error.to_string()))?;
        let (_, parsed) =
            <x509_parser::certification_request::X509CertificationRequest<'_> as x509_parser::prelude::FromDer<'_, _>>::from_der(
                &pem.contents,
            )
            .map_err(|_| weak("it is not a request"))?;
        if let Ok(x509_parser::public_key::PublicKey::RSA(key)) = parsed.certification_request_info.subject_pki.parsed()
            && key.key_size() < LEAST_RSA_BITS
        {
            return Err(weak("its RSA key is shorter than 2048 bits"));
        }
        if matches!(request.params.is_ca, IsCa::Ca(_)) {
            return Err(weak("it asks for a certificate authority"));
        }
        let common = params("", None, now);
        let wanted = &mut request.params;
        (wanted.not_before, wanted.not_after) = (common.not_before, common.not_after);
        wanted.is_ca = IsCa::ExplicitNoCa;
        wanted.subject_alt_names.clear();
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        wanted.use_authority_key_identifier_extension = true;
        Ok(request.signed_by(&self.issuer).map_err(failed("certificate"))?.pem())
    }
}

fn params(common_name: &str, organization: Option<&str>, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name = name;
    params.not_before = time::OffsetDateTime::from(now - BACKDATE);
    params.not_after = time::OffsetDateTime::from(now + VALIDITY);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(pem: &str) -> (String, bool) {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        (certificate.subject().to_string(), certificate.is_ca())
    }

    fn verified(issuer: &str, issued: &str) -> bool {
        let (_, issuer) = x509_parser::pem::parse_x509_pem(issuer.as_bytes()).unwrap();
        let (_, issued) = x509_parser::pem::parse_x509_pem(issued.as_bytes()).unwrap();
        let issuer = issuer.parse_x509().unwrap();
        issued.parse_x509().unwrap().verify_signature(Some(issuer.public_key())).is_ok()
    }

    #[test]
    fn a_stored_authority_goes_on_issuing() {
        let now = SystemTime::now();
        let made = Authority::generate("cluster", now).unwrap();
        let loaded = Authority::load(&made.cert_pem, &made.key_pem).unwrap();
        let server = loaded.issue_server("m-0", &["10.0.0.2".into(), "m-0".into()], now).unwrap();
        assert!(verified(&made.cert_pem, &server.cert_pem));
        assert_eq!(subject(&server.cert_pem), ("CN=m-0".into(), false));
        let other = Authority::generate("other", now).unwrap();
        assert!(!verified(&other.cert_pem, &server.cert_pem));
        assert!(Authority::load(&made.cert_pem, &other.key_pem).is_err(), "a key of another authority");
        assert!(Authority::load("", &other.key_pem).is_err());
    }

    #[test]
    fn a_request_becomes_a_client_certificate_and_nothing_more() {
        let now = SystemTime::now();
        let authority = Authority::generate("cluster", now).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut wanted = super::params("admin", Some("system:masters"), now);
        wanted.subject_alt_names = vec![rcgen::SanType::DnsName("elsewhere".try_into().unwrap())];
        let csr = wanted.serialize_request(&key).unwrap().pem().unwrap();
        let signed = authority.sign_csr(&csr, now).unwrap();
        assert!(verified(&authority.cert_pem, &signed));
        assert_eq!(subject(&signed), ("CN=admin, O=system:masters".into(), false));
        let (_, pem) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert!(certificate.subject_alternative_name().unwrap().is_none());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value.clone();
        assert!(usage.client_auth && !usage.server_auth);
        assert!(authority.sign_csr("not a request", now).is_err());
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let csr = wanted.serialize_request(&key).unwrap().pem().unwrap();
        assert!(authority.sign_csr(&csr, now).is_err());
    }
}
