// SPDX-License-Identifier: Apache-2.0
//! Clients as simple as they come: one connection, one request.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::HANG;
use crate::tls::key_of;

/// A node's key.
pub(super) struct Key(KeyPair);

impl Key {
    pub(super) fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.serialize_pem()
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The word of the problem that it is; panics if it is none.
    pub(super) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}: {}",
            self.status,
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(
            problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{problem}"
        );
        problem["type"]
            .as_str()
            .unwrap()
            .trim_start_matches("/problems/")
            .to_owned()
    }
}

pub(super) async fn plain(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    whole(open(TcpStream::connect(to).await.unwrap(), method, path, headers, body).await).await
}

pub(super) async fn control(to: &Path, method: &str, path: &str, body: Option<&Value>) -> Answer {
    whole(open(UnixStream::connect(to).await.unwrap(), method, path, &[], body).await).await
}

/// The same with any bytes as the JSON.
pub(super) async fn raw_control(to: &Path, method: &str, path: &str, body: &str) -> Answer {
    let stream = UnixStream::connect(to).await.unwrap();
    let body = Bytes::copy_from_slice(body.as_bytes());
    whole(send(stream, method, path, &[], Some(body)).await).await
}

pub(super) async fn tls(
    to: SocketAddr,
    pin: &str,
    key: Option<&Key>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    whole(open(shake_hands(to, pin, key).await, method, path, headers, body).await).await
}

async fn shake_hands(to: SocketAddr, pin: &str, key: Option<&Key>) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect(to).await.unwrap();
    let name = ServerName::IpAddress(to.ip().into());
    let connector = TlsConnector::from(config(pin, key));
    connector.connect(name, stream).await.expect("TLS handshake")
}

/// The body of an answer that does not end by itself.
pub(super) async fn tls_stream(to: SocketAddr, pin: &str, path: &str, headers: &[(&str, &str)]) -> Incoming {
    let stream = shake_hands(to, pin, None).await;
    open(stream, "GET", path, headers, None).await.into_body()
}

/// What comes next of it; nothing when it has ended.
pub(super) async fn next_piece(body: &mut Incoming) -> Option<Bytes> {
    let frame = tokio::time::timeout(HANG, body.frame())
        .await
        .expect("neither news nor an end")?;
    frame.unwrap().into_data().ok()
}

/// Sends a request and leaves the body to be read, for streams.
pub(super) async fn open<S>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Response<Incoming>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let body = body.map(|body| serde_json::to_vec(body).unwrap().into());
    send(stream, method, path, headers, body).await
}

async fn send<S>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Bytes>,
) -> Response<Incoming>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    // A header that is given takes the place of this one.
    if headers.iter().any(|(name, _)| *name == "host")
        && let Some(headers) = request.headers_mut()
    {
        headers.remove("host");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(body.unwrap_or_default())).unwrap();
    tokio::time::timeout(HANG, sender.send_request(request))
        .await
        .expect("no answer")
        .unwrap()
}

async fn whole(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(HANG, body.collect())
        .await
        .expect("the answer does not end")
        .unwrap()
        .to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
    }
}

fn config(pin: &str, key: Option<&Key>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(pin.to_owned())));
    Arc::new(match key {
        None => builder.with_no_client_auth(),
        Some(key) => {
            let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key.0).unwrap();
            let secret = PrivateKeyDer::try_from(key.0.serialize_der()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], secret)
                .unwrap()
        }
    })
}

#[derive(Debug)]
struct Pinned(String);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        assert_eq!(
            key_of(end).as_ref(),
            Some(&self.0),
            "the server's key is not the pinned one"
        );
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
