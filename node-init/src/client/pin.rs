// SPDX-License-Identifier: Apache-2.0
//! Trust in exactly one key: the one whose fingerprint came with the boot script.
//!
//! Names and dates of the certificate are not looked at: names because the controller is an address, dates because
//! this machine's clock may stand at 1970 or 2040 until the controller has told it the time.

use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::key::{NodeKey, fingerprint};

/// SHA-256 of the controller's `SubjectPublicKeyInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin(String);

/// A pin that is not 64 hex digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a pin (64 hex digits)")]
pub struct PinError(String);

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if digits {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(PinError(text.into()))
        }
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// TLS that trusts `pin` and presents `key`.
pub(super) fn client_config(pin: &Pin, key: &NodeKey) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(PinVerifier {
        pin: pin.clone(),
        provider: Arc::clone(&provider),
    });
    let (certificates, private) = key.identity();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(certificates, private)?;
    // The controller is an address: there is no name to indicate.
    config.enable_sni = false;
    // The controller may restart with forgotten sessions; a full handshake on one wire costs milliseconds.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Whether a handshake failed because somebody else's key was shown.
pub(super) fn is_wrong_pin(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
    )
}

#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (_, certificate) = X509Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if fingerprint(certificate.tbs_certificate.subject_pki.raw) == self.pin.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    // The pin says which key; these two prove that the peer holds it.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
