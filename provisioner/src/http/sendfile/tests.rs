// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::files::{self, Stored};
use crate::http::gate::{Gate, Limits, Strangers};
use crate::http::listener::{self, Listener};

/// Several pieces, and not a whole number of them.
const SIZE: usize = 3 * PIECE + 12_345;
/// From one piece into the next but one.
const ACROSS: RangeInclusive<usize> = PIECE - 6..=2 * PIECE + 8;
/// Nothing here takes so long unless it hangs.
const HANG: Duration = Duration::from_mins(1);

fn content() -> Vec<u8> {
    (0..SIZE).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}

async fn file(method: Method, headers: HeaderMap, queue: Option<Extension<FileQueue>>) -> Response {
    assert!(queue.is_some(), "a plain connection can send files");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content()).unwrap();
    stored(file, &method, &headers, queue.as_deref())
}

/// A file that lost its end after it was looked at.
async fn cut(method: Method, headers: HeaderMap, queue: Option<Extension<FileQueue>>) -> Response {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content()[..SIZE / 2]).unwrap();
    stored(file, &method, &headers, queue.as_deref())
}

fn stored(file: File, method: &Method, headers: &HeaderMap, queue: Option<&FileQueue>) -> Response {
    let stored = Stored {
        file,
        size: SIZE as u64,
        hash: "abc".into(),
        content_type: "application/octet-stream",
    };
    files::send(stored, method, headers, queue)
}

/// Says all requests at once and hears everything until the server hangs up.
async fn say(requests: &[&str]) -> Vec<u8> {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let router = Router::new()
        .route("/file", get(file))
        .route("/cut", get(cut))
        .route("/small", get(|| async { "small" }));
    let stop = CancellationToken::new();
    let gate = Gate::new(Limits::default(), Arc::new(Strangers));
    let serving = tokio::spawn(listener::serve(Listener::Plain(socket), router, gate, stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(requests.concat().as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // A connection that is cut ends in an error, and what came before it counts.
    let _ = tokio::time::timeout(HANG, stream.read_to_end(&mut heard))
        .await
        .unwrap();
    stop.cancel();
    serving.await.unwrap();
    heard
}

/// The answers, each a head and as many bytes as it promises.
fn answers(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        let promised = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let body = &rest[end + 4..];
        let length = promised.map_or(0, |length| length.parse().unwrap()).min(body.len());
        answers.push((head, body[..length].to_vec()));
        rest = &body[length..];
    }
    answers
}

#[tokio::test]
async fn files_ranges_and_small_answers_share_a_connection_in_any_order() {
    let last = "GET /file HTTP/1.1\r\nHost: x\r\nRange: bytes=-1000\r\nConnection: close\r\n\r\n";
    let heard = say(&[
        "GET /file HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /small HTTP/1.1\r\nHost: x\r\n\r\n",
        &format!(
            "GET /file HTTP/1.1\r\nHost: x\r\nRange: bytes={}-{}\r\n\r\n",
            ACROSS.start(),
            ACROSS.end()
        ),
        "GET /file HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n",
        last,
    ])
    .await;
    let bodies: Vec<Vec<u8>> = answers(&heard).into_iter().map(|(_, body)| body).collect();
    let all = content();
    assert_eq!(bodies.len(), 5);
    assert!(bodies[0] == all);
    assert_eq!(bodies[1], b"small");
    assert!(bodies[2] == all[ACROSS]);
    assert_eq!(bodies[3], all[..1]);
    assert_eq!(bodies[4], all[SIZE - 1000..]);
}

#[tokio::test]
async fn head_promises_the_length_and_sends_nothing() {
    let heard = say(&["HEAD /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]).await;
    let text = String::from_utf8(heard).unwrap();
    assert!(text.contains(&format!("Content-Length: {SIZE}")) && text.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn a_file_that_became_shorter_cuts_the_connection_and_nothing_is_made_up() {
    let heard = say(&["GET /cut HTTP/1.1\r\nHost: x\r\n\r\n"]).await;
    let (first, body) = answers(&heard).remove(0);
    assert!(first.contains(&format!("Content-Length: {SIZE}")));
    assert!(body == content()[..SIZE / 2]);
}

#[tokio::test]
async fn stand_ins_are_known_and_nothing_else_is() {
    assert!(is_stand_in(&STAND_IN[..1]) && is_stand_in(&STAND_IN[PIECE - 1..]));
    assert!(!is_stand_in(&[0; 10]) && !is_stand_in(&STAND_IN[..0]));
}
