// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// A controller that knows one answer: shows `key`, demands a certificate of `node`, returns what was asked of it.
pub(crate) fn controller(key: &NodeKey, node: &NodeKey, answer: &'static str) -> (String, mpsc::Receiver<String>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(node.identity().0.remove(0)).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let (certs, private) = key.identity();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certs, private)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, heard) = mpsc::channel();
    let config = Arc::new(config);
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), tcp.unwrap());
            let mut question = [0; 4096];
            let Ok(n) = tls.read(&mut question) else { return };
            // Nobody may be there any more who wants to know.
            let _ = asked.send(String::from_utf8_lossy(&question[..n]).into_owned());
            let _ = tls.write_all(answer.as_bytes());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (address, heard)
}

pub(crate) fn client_of(address: &str, pinned: &NodeKey, node: &NodeKey) -> Client {
    Client::new(address, &pinned.fingerprint().parse().unwrap(), node).unwrap()
}

#[test]
fn the_pinned_controller_is_believed_and_told_the_time_by() {
    let (server, node) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (address, heard) = controller(
        &server,
        &node,
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"unix_ms\":5}",
    );
    assert_eq!(client_of(&address, &server, &node).time().unwrap().unix_ms, 5);
    assert!(heard.recv().unwrap().starts_with("GET /api/v1/time HTTP/1.1\r\n"));
}

#[test]
fn a_stranger_with_another_key_is_not_told_a_word() {
    let (server, node) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (address, heard) = controller(&server, &node, "");
    let stranger = client_of(&address, &node, &node).time();
    assert!(matches!(stranger, Err(ClientError::WrongPin { .. })), "{stranger:?}");
    assert!(heard.recv().is_err());
}

#[test]
fn a_refusal_carries_the_controllers_own_words() {
    const ANSWER: &str = "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json\r\ncontent-length: 92\r\n\r\n\
        {\"type\":\"/problems/refused\",\"title\":\"Refused\",\"status\":409,\"detail\":\"node pc1 is retired!!\"}";
    let (server, node) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (address, _heard) = controller(&server, &node, ANSWER);
    let refused = client_of(&address, &server, &node)
        .orders(Some(7), Duration::from_secs(1))
        .unwrap_err();
    assert!(!refused.is_temporary());
    assert_eq!(
        refused.to_string(),
        "the controller says: node pc1 is retired!! (HTTP 409)"
    );
}

#[test]
fn no_capsule_is_an_answer_and_not_an_error() {
    const ANSWER: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\noops";
    let (server, node) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (address, _heard) = controller(&server, &node, ANSWER);
    assert!(client_of(&address, &server, &node).capsule().unwrap().is_none());
}

#[test]
fn a_controller_that_is_not_there_may_be_asked_again() {
    let node = NodeKey::generate().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let error = client_of(&nobody, &node, &node).time().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }));
    assert!(error.is_temporary());
}

#[test]
fn a_pin_is_64_hex_digits_and_nothing_else() {
    assert!("0".repeat(64).parse::<Pin>().is_ok());
    for bad in [String::new(), "0".repeat(63), "g".repeat(64), "é".repeat(32)] {
        assert!(bad.parse::<Pin>().is_err(), "{bad}");
    }
}
