// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConnection, SignatureScheme};

use super::*;

#[test]
fn the_key_is_made_once_and_for_the_server_alone() {
    let state = tempfile::tempdir().unwrap();
    let first = ServerKey::open_or_make(state.path()).unwrap();
    assert_eq!(first.pin.len(), 64);
    assert_eq!(ServerKey::open_or_make(state.path()).unwrap().pin, first.pin);
    let mode = |path: &str| fs::metadata(state.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("tls/server.key"), 0o600);
}

#[test]
fn a_certificate_of_another_key_is_noticed_at_the_start() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ServerKey::open_or_make(one.path()).unwrap();
    ServerKey::open_or_make(two.path()).unwrap();
    fs::copy(one.path().join("tls/server.crt"), two.path().join("tls/server.crt")).unwrap();
    assert!(
        ServerKey::open_or_make(two.path())
            .unwrap_err()
            .to_string()
            .contains("does not belong")
    );
}

/// A node: trusts one pin and nothing else.
#[derive(Debug)]
struct Pinned(String);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if key_of(end_entity).as_ref() == Some(&self.0) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another server".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn client(pin: &str) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(pin.to_owned())))
}

/// Shakes hands in memory; the key of the caller as the server sees it.
fn handshake(server: &ServerKey, client: ClientConfig) -> Result<Option<String>, rustls::Error> {
    let mut server = ServerConnection::new(Arc::clone(&server.tls)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("192.0.2.1").unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut wire.as_slice()).unwrap();
    server.process_new_packets()?;
    let mut heard = [0; 5];
    server.reader().read_exact(&mut heard).unwrap();
    Ok(server.peer_certificates().and_then(|chain| key_of(&chain[0])))
}

#[test]
fn a_node_is_known_by_the_key_of_a_certificate_that_it_made_itself() {
    let state = tempfile::tempdir().unwrap();
    let server = ServerKey::open_or_make(state.path()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = client(&server.pin)
        .with_client_auth_cert(vec![certificate.der().clone()], secret)
        .unwrap();
    assert_eq!(
        handshake(&server, config).unwrap(),
        Some(sha256(&key.subject_public_key_info()))
    );
}

#[test]
fn a_program_may_call_without_a_certificate_and_is_nobody() {
    let state = tempfile::tempdir().unwrap();
    let server = ServerKey::open_or_make(state.path()).unwrap();
    assert_eq!(
        handshake(&server, client(&server.pin).with_no_client_auth()).unwrap(),
        None
    );
}

#[test]
fn a_server_with_another_key_is_not_trusted() {
    let state = tempfile::tempdir().unwrap();
    let server = ServerKey::open_or_make(state.path()).unwrap();
    assert!(handshake(&server, client(&"0".repeat(64)).with_no_client_auth()).is_err());
}

#[test]
fn a_key_that_others_may_read_is_refused_with_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    ServerKey::open_or_make(state.path()).unwrap();
    let key = state.path().join(FOLDER).join(KEY);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&state.path().join(FOLDER))), (0o600, 0o700));
    for wide in [0o640, 0o604, 0o660] {
        fs::set_permissions(&key, fs::Permissions::from_mode(wide)).unwrap();
        let says = ServerKey::open_or_make(state.path()).unwrap_err().to_string();
        assert!(says.contains("chmod 600"), "{wide:o}: {says}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    ServerKey::open_or_make(state.path()).unwrap();
}
