// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Mutex;

use super::*;

/// An image server that gives one scripted answer a connection, and returns the ranges that were asked for.
fn server(answers: Vec<Vec<u8>>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/images/x", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut ranges = Vec::new();
        for answer in answers {
            let (mut tcp, _) = listener.accept().unwrap();
            let lines = BufReader::new(tcp.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let range = head
                .iter()
                .find_map(|line| line.to_lowercase().strip_prefix("range: ").map(str::to_owned));
            ranges.push(range.unwrap_or_default());
            tcp.write_all(&answer).unwrap();
        }
        ranges
    });
    (url, serving)
}

fn partial(promised: usize, sent: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {promised}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), sent].concat()
}

fn source<'a>(url: &str, waiting: Waiting<'a>) -> HttpSource<'a> {
    HttpSource {
        sleep: |_| {},
        ..HttpSource::new(url, waiting)
    }
}

#[test]
fn a_chunk_is_resumed_where_the_connection_broke() {
    let (url, serving) = server(vec![partial(10, b"0123"), partial(6, b""), partial(6, b"456789")]);
    let (said, mut chunk) = (Mutex::new(Vec::new()), Vec::new());
    source(&url, &|what| said.lock().unwrap().push(what.to_owned()))
        .chunk(100, 10, &mut chunk)
        .unwrap();
    assert_eq!(chunk, b"0123456789");
    assert_eq!(
        serving.join().unwrap(),
        ["bytes=100-109", "bytes=104-109", "bytes=104-109"]
    );
    let said = said.into_inner().unwrap();
    assert_eq!((said.len(), said.last().map(String::as_str)), (3, Some("")), "{said:?}");
}

#[test]
fn an_image_that_is_gone_is_not_waited_for() {
    let not_found = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    let (url, serving) = server(vec![not_found; REFUSALS as usize]);
    let gone = source(&url, &|_| {}).file("manifest.json", 100);
    assert!(matches!(gone, Err(Trouble::Unavailable(_))), "{gone:?}");
    serving.join().unwrap();
}

#[test]
fn a_server_that_ignores_ranges_is_not_taken_at_its_word() {
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nabcd".to_vec();
    let (url, _serving) = server(vec![whole; REFUSALS as usize]);
    assert!(matches!(
        source(&url, &|_| {}).chunk(0, 4, &mut Vec::new()),
        Err(Trouble::Unavailable(_))
    ));
}

#[test]
fn a_file_that_never_ends_is_cut_off() {
    let long = b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\nconnection: close\r\n\r\n".to_vec();
    let answer = [long, vec![b'x'; 200]].concat();
    let (url, _serving) = server(vec![answer; REFUSALS as usize]);
    assert!(matches!(
        source(&url, &|_| {}).file("manifest.json", 100),
        Err(Trouble::Unavailable(_))
    ));
}
