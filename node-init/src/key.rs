// SPDX-License-Identifier: Apache-2.0
//! The key by which the controller knows this node, and the certificate made from it.
//!
//! The controller looks at nothing but the key: names and dates of the certificate mean nothing, so a machine
//! whose clock stands at 1970 can still say who it is.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Common name in certificates, for people who look at one; nothing depends on it.
const COMMON_NAME: &str = "gleaner node";

/// A node's key pair with its self-signed certificate.
pub struct NodeKey {
    pair: KeyPair,
    certificate: CertificateDer<'static>,
}

/// Why a key could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("the node key cannot be used")]
pub struct KeyError(#[from] rcgen::Error);

impl NodeKey {
    /// A fresh key (ECDSA P-256, from the kernel's random numbers).
    pub fn generate() -> Result<Self, KeyError> {
        Self::certify(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
    }

    /// The key of a node that exists already, PKCS#8 PEM as [`Self::to_pem`] wrote it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::certify(KeyPair::from_pem(pem)?)
    }

    /// PKCS#8 PEM. It is the node's identity: mode 0600 wherever it is written.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, hex: the name under which the controller files this key.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.pair.subject_public_key_info())
    }

    /// Certificate and private key as a TLS client presents them.
    pub fn identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivatePkcs8KeyDer::from(self.pair.serialize_der());
        (vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(key))
    }

    fn certify(pair: KeyPair) -> Result<Self, KeyError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(rcgen::DnType::CommonName, COMMON_NAME);
        let certificate = params.self_signed(&pair)?.der().clone();
        Ok(Self { pair, certificate })
    }
}

/// SHA-256 of a DER `SubjectPublicKeyInfo`, hex.
pub(crate) fn fingerprint(spki: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, spki))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_that_was_written_and_read_back_is_the_same_node() {
        let key = NodeKey::generate().unwrap();
        assert_eq!(
            NodeKey::from_pem(&key.to_pem()).unwrap().fingerprint(),
            key.fingerprint()
        );
    }

    #[test]
    fn two_machines_never_share_a_key() {
        assert_ne!(
            NodeKey::generate().unwrap().fingerprint(),
            NodeKey::generate().unwrap().fingerprint()
        );
    }

    #[test]
    fn garbage_is_no_key() {
        assert!(NodeKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
    }
}
