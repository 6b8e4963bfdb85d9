// SPDX-License-Identifier: Apache-2.0
//! Keys of fake nodes, and connections that trust a pin and nothing else, as node-init's do.

use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::rom;

/// A connection, buffered for reading.
pub type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A node's key pair.
pub struct Key(KeyPair);

impl Key {
    /// A fresh one.
    pub fn new() -> Result<Self> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .context("making a key")
    }

    /// One that was kept as PEM.
    pub fn from_pem(pem: &str) -> Result<Self> {
        KeyPair::from_pem(pem).map(Self).context("reading a key")
    }

    /// PKCS#8 PEM.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Its certificate and itself, PEM, as programs want them in one file.
    pub fn to_bundle(&self) -> Result<String> {
        let params = CertificateParams::new(Vec::new()).context("describing a certificate")?;
        let certificate = params.self_signed(&self.0).context("signing a certificate")?;
        Ok(format!("{}{}", certificate.pem(), self.to_pem()))
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, hex: the name by which the server knows it.
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.0.subject_public_key_info()))
    }

    fn certificate(&self) -> Result<CertificateDer<'static>> {
        let params = CertificateParams::new(Vec::new()).context("describing a certificate")?;
        Ok(params
            .self_signed(&self.0)
            .context("signing a certificate")?
            .der()
            .clone())
    }
}

/// TLS towards the server with this pin; without a key, as nobody.
pub fn client(pin: &str, key: Option<&Key>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Pinned {
        pin: pin.to_owned(),
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choosing TLS versions")?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match key {
        Some(key) => {
            let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.0.serialize_der()));
            builder
                .with_client_auth_cert(vec![key.certificate()?], secret)
                .context("presenting a key")?
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// Connects from one of our addresses.
pub fn connect(config: &Arc<ClientConfig>, from: Ipv4Addr, to: SocketAddr) -> Result<Stream> {
    let stream = rom::connect(from, to)?;
    let name = ServerName::IpAddress(to.ip().into());
    let connection = ClientConnection::new(Arc::clone(config), name).context("beginning TLS")?;
    Ok(BufReader::new(StreamOwned::new(connection, stream)))
}

#[derive(Debug)]
struct Pinned {
    pin: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (_, certificate) = X509Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if hex::encode(Sha256::digest(certificate.tbs_certificate.subject_pki.raw)) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
