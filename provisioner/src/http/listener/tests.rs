// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use provisioner_api::Problem;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use provisioner_api::OpenWindow;

use super::*;
use crate::http::extract::{Json, Query};
use crate::http::gate::{Limits, Strangers};
use crate::http::problem;

/// Short enough that a test which waits for it is quick, long enough that a busy machine keeps it.
const PATIENCE: Duration = Duration::from_millis(300);
/// Nothing here takes so long unless it hangs.
const HANG: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Thing {
    number: u8,
}

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/thing",
            post(|Json(window): Json<OpenWindow>| async move { window.max.unwrap_or(0).to_string() }),
        )
        .route(
            "/ask",
            get(|Query(thing): Query<Thing>| async move { thing.number.to_string() }),
        )
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/slow",
            get(|| async { tokio::time::sleep(Duration::from_millis(200)).await }),
        )
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(1000))
}

async fn start(limits: Limits) -> Server {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(
        Listener::Plain(socket),
        router(),
        Gate::new(limits, Arc::new(Strangers)),
        stop.clone(),
    ));
    Server { address, stop, task }
}

fn quick() -> Limits {
    Limits {
        head: PATIENCE,
        ..Limits::default()
    }
}

/// Says `bytes` and hears everything until the server hangs up.
async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that hangs up in the middle of an endless head is right to do so.
    let _ = stream.write_all(bytes).await;
    hear(&mut stream).await
}

async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            heard.extend_from_slice(&piece[..count]);
        }
    };
    tokio::time::timeout(HANG, reading)
        .await
        .expect("the server did not hang up");
    String::from_utf8_lossy(&heard).into_owned()
}

async fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, Option<Problem>) {
    let length = body.len();
    let request = format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let answer = say(address, request.as_bytes()).await;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let is_problem = answer.contains("Content-Type: application/problem+json");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, is_problem.then(|| serde_json::from_str(body).unwrap()))
}

#[tokio::test]
async fn every_refusal_has_the_one_shape() {
    let server = start(Limits::default()).await;
    let json = "Content-Type: application/json";
    let large = format!("{{\"max\":{}}}", "1".repeat(2000));
    for (head, body, expected, word) in [
        ("GET /nothing HTTP/1.1".into(), "", 404, "not-found"),
        ("DELETE / HTTP/1.1".into(), "", 405, "method-not-allowed"),
        ("FROBNICATE / HTTP/1.1".into(), "", 405, "method-not-allowed"),
        ("POST /thing HTTP/1.1".into(), "{}", 415, "unsupported-media-type"),
        (format!("POST /thing HTTP/1.1\r\n{json}"), "{", 400, "bad-request"),
        (
            format!("POST /thing HTTP/1.1\r\n{json}"),
            "{\"max\":\"x\"}",
            422,
            "unprocessable",
        ),
        (
            format!("POST /thing HTTP/1.1\r\n{json}"),
            large.as_str(),
            413,
            "too-large",
        ),
        ("GET /ask?number=1000 HTTP/1.1".into(), "", 400, "bad-request"),
    ] {
        let (status, problem) = ask(server.address, &head, body).await;
        assert_eq!(status, expected, "{head}");
        let problem = problem.unwrap_or_else(|| panic!("{head}: not a problem"));
        assert_eq!(
            (problem.status, problem.r#type),
            (expected, format!("/problems/{word}")),
            "{head}"
        );
    }
    let (_, problem) = ask(
        server.address,
        &format!("POST /thing HTTP/1.1\r\n{json}"),
        "{\"max\":\"x\"}",
    )
    .await;
    assert!(problem.unwrap().detail.contains("max"), "the field is named");
}

#[tokio::test]
async fn absurd_heads_are_refused_and_the_server_goes_on() {
    let server = start(quick()).await;
    let many = "A: b\r\n".repeat(5000);
    for hostile in [
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1_000_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").into_bytes(),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "z".repeat(100_000)).into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n".to_vec(),
        b"POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n".to_vec(),
        (0..=255).cycle().take(100_000).collect(),
        b"\0".repeat(100_000),
    ] {
        let answer = say(server.address, &hostile).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(ask(server.address, "GET / HTTP/1.1", "").await.0, 200);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off() {
    let server = start(quick()).await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .await
        .unwrap();
    hear(&mut stream).await;
    assert!(begun.elapsed() >= PATIENCE);
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(
        hear(&mut idle).await,
        "",
        "one that says nothing at all is cut off as well"
    );
}

#[tokio::test]
async fn beyond_the_limit_nobody_is_let_in_until_somebody_leaves() {
    let server = start(Limits {
        total: 2,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        held.push(stream);
    }
    let answered = async || ask(server.address, "GET / HTTP/1.1", "").await.0 == 200;
    let deadline = Instant::now() + HANG;
    while answered().await {
        assert!(Instant::now() < deadline, "the places were not taken");
        tokio::task::yield_now().await;
    }
    drop(held);
    while !answered().await {
        assert!(Instant::now() < deadline, "the places were not given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_that_say_nothing_give_way_to_those_that_do() {
    let server = start(Limits {
        total: 2,
        ..Limits::default()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(ask(server.address, "GET / HTTP/1.1", "").await.0, 200);
    assert_eq!(hear(&mut silent[0]).await, "", "the oldest gave way");
}

#[tokio::test]
async fn a_request_says_once_whom_it_is_for() {
    let server = start(Limits::default()).await;
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: \u{e4}\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n", "400"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: a:8080\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost:\r\n", "200"),
        ("GET http://a:8080/ HTTP/1.1\r\nHost: a:8080\r\n", "200"),
        ("GET / HTTP/1.0\r\n", "200"),
    ] {
        let answer = say(server.address, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{head}: {answer}");
    }
}

#[tokio::test]
async fn a_stop_lets_a_request_under_way_finish_and_ends_idle_connections() {
    let server = start(Limits::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // The idle one's answer shows that the server has read both heads or will read the other within the grace.
    let mut first = [0; 8];
    idle.read_exact(&mut first).await.unwrap();
    server.stop.cancel();
    assert!(hear(&mut busy).await.starts_with("HTTP/1.1 200"));
    hear(&mut idle).await;
    tokio::time::timeout(HANG, server.task)
        .await
        .expect("the listener did not end")
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn handlers_know_who_asks_and_where_it_reached_us() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let who = |axum::Extension(peer): axum::Extension<Peer>| async move { format!("{peer:?}") };
    let router = Router::new().route("/", get(who));
    tokio::spawn(serve(
        Listener::Plain(socket),
        router,
        Gate::new(Limits::default(), Arc::new(Strangers)),
        CancellationToken::new(),
    ));
    let answer = say(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.contains("channel: Plain") && answer.contains(&format!("local: Some({address})")),
        "{answer}"
    );
    assert!(answer.contains("key: None"), "plain HTTP proves nothing: {answer}");
}
