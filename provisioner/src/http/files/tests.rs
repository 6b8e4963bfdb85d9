// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;

use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

/// Several reads long, and not a multiple of one.
const SIZE: usize = 300_001;

fn content() -> Vec<u8> {
    (0..SIZE).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}

fn stored() -> Stored {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content()).unwrap();
    Stored {
        file,
        size: SIZE as u64,
        hash: "abc".into(),
        content_type: "application/octet-stream",
    }
}

fn ask(method: &Method, headers: &[(&str, &str)]) -> Response {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<header::HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect();
    send(stored(), method, &headers, None)
}

fn header_of(response: &Response, name: &str) -> String {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

async fn body(response: Response) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn a_file_is_sent_in_whole_with_its_length_and_tag() {
    let response = ask(&Method::GET, &[]);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, "content-length"), SIZE.to_string());
    assert_eq!(header_of(&response, "etag"), "\"abc\"");
    assert_eq!(header_of(&response, "accept-ranges"), "bytes");
    assert_eq!(body(response).await, content());
}

#[tokio::test]
async fn a_range_is_sent_as_a_part() {
    let response = ask(&Method::GET, &[("range", "bytes=65530-200000")]);
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        header_of(&response, "content-range"),
        format!("bytes 65530-200000/{SIZE}")
    );
    assert_eq!(header_of(&response, "content-length"), "134471");
    assert_eq!(body(response).await, content()[65530..=200_000]);
}

#[tokio::test]
async fn a_range_beyond_the_end_is_refused_with_the_size() {
    let response = ask(&Method::GET, &[("range", "bytes=400000-")]);
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header_of(&response, "content-range"), format!("bytes */{SIZE}"));
}

#[tokio::test]
async fn head_says_what_get_would_and_sends_nothing() {
    let response = ask(&Method::HEAD, &[("range", "bytes=0-1")]);
    assert_eq!(response.status(), StatusCode::OK, "a range is for GET only");
    assert_eq!(header_of(&response, "content-length"), SIZE.to_string());
    assert!(body(response).await.is_empty());
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    let response = ask(&Method::GET, &[("if-none-match", "\"old\", W/\"abc\"")]);
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert!(body(response).await.is_empty());
    assert_eq!(
        ask(&Method::GET, &[("if-none-match", "\"old\"")]).status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_file_that_became_shorter_ends_in_an_error_and_not_in_a_short_answer() {
    let stored = stored();
    stored.file.set_len(100_000).unwrap();
    let response = send(stored, &Method::GET, &HeaderMap::new(), None);
    assert!(response.into_body().collect().await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_range_is_the_same_bytes_from_disk_and_from_memory(start in 0usize..SIZE, more in 0usize..SIZE) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let range = format!("bytes={start}-{}", start + more);
            let expected = &content()[start..(start + more + 1).min(SIZE)];
            let from_disk = ask(&Method::GET, &[("range", &range)]);
            let headers = [(header::RANGE, HeaderValue::from_str(&range).unwrap())].into_iter().collect();
            let from_memory = send_memory(&Bytes::from(content()), "abc", "text/plain", &Method::GET, &headers);
            assert_eq!(body(from_disk).await, expected);
            assert_eq!(body(from_memory).await, expected);
        });
    }
}
