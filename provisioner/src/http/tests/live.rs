// SPDX-License-Identifier: Apache-2.0
//! News reach those who watch, and those who are slow are shown everything again.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::net::{TcpStream, UnixStream};

use super::*;

/// An open stream of server-sent events.
struct Stream {
    body: Incoming,
    heard: String,
}

impl Stream {
    async fn page(lab: &Lab, path: &str) -> Self {
        let response = client::open(TcpStream::connect(lab.http).await.unwrap(), "GET", path, &[], None).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            heard: String::new(),
        }
    }

    async fn program(lab: &Lab) -> Self {
        let stream = UnixStream::connect(&lab.control).await.unwrap();
        let response = client::open(stream, "GET", "/api/v1/events/stream", &[], None).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            heard: String::new(),
        }
    }

    /// Listens until `word` was said.
    async fn until(&mut self, word: &str) -> &str {
        let listening = async {
            while !self.heard.contains(word) {
                let frame = self.body.frame().await.expect("the stream ended").unwrap();
                self.heard.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
            }
        };
        let heard = tokio::time::timeout(HANG, listening).await;
        assert!(heard.is_ok(), "{word:?} was not said, but: {}", self.heard);
        &self.heard
    }
}

/// What an open page is sent until it names this.
pub(super) async fn page_until(lab: &Lab, path: &str, word: &str) -> String {
    Stream::page(lab, path).await.until(word).await.to_owned()
}

#[tokio::test]
async fn a_new_machine_appears_on_an_open_page_and_moves_when_it_is_approved() {
    let lab = Lab::start().await;
    let page = lab.plain("GET", "/").await.text();
    let path = page
        .split('"')
        .find(|part| part.starts_with("/live?"))
        .unwrap()
        .to_owned();
    let mut stream = Stream::page(&lab, &path).await;
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    let heard = stream.until(&format!("id=\"node-{}\"", who.node_id)).await;
    assert!(heard.contains("hx-target=\"#group-waiting\""), "{heard}");
    lab.operator("POST", &format!("/api/v1/nodes/{}/approve", who.name), Some(&json!({})))
        .await;
    stream.until("hx-target=\"#group-working\"").await;
}

#[tokio::test]
async fn a_browser_that_was_away_is_shown_everything_again() {
    let lab = Lab::start().await;
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    let mut stream = Stream::page(&lab, "/live?since=17").await;
    let heard = stream.until("group-away").await;
    assert!(
        heard.contains(&who.name) && heard.contains("hx-swap=\"innerMorph\""),
        "{heard}"
    );
}

#[tokio::test]
async fn the_page_of_one_node_hears_of_that_node_only() {
    let lab = Lab::start().await;
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    let page = lab.plain("GET", &format!("/nodes/{}", who.name)).await.text();
    let path = page
        .split('"')
        .find(|part| part.starts_with("/live?"))
        .unwrap()
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    let mut stream = Stream::page(&lab, &path).await;
    let other = lab.register(&Key::new(), 2, "b2", Life::Ram).await;
    lab.operator(
        "POST",
        &format!("/api/v1/nodes/{}/reject", who.name),
        Some(&json!({"why": "is broken"})),
    )
    .await;
    let heard = stream.until("is broken").await;
    assert!(!heard.contains(&other.name), "{heard}");
}

#[tokio::test]
async fn programs_hear_of_nodes_as_json() {
    let lab = Lab::start().await;
    let mut stream = Stream::program(&lab).await;
    stream.until("event: resync").await;
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    let heard = stream.until("event: node").await.to_owned();
    let data = match heard.split("data: {").nth(1) {
        Some(data) => data.to_owned(),
        None => stream
            .until("data: {")
            .await
            .split("data: {")
            .nth(1)
            .unwrap()
            .to_owned(),
    };
    assert!(data.contains(&who.name), "{data}");
}

#[tokio::test]
async fn streams_are_not_given_without_end() {
    let lab = Lab::start().await;
    let mut open = Vec::new();
    let refused = loop {
        let response = client::open(TcpStream::connect(lab.http).await.unwrap(), "GET", "/live", &[], None).await;
        if response.status() != 200 {
            break response;
        }
        open.push(response);
        assert!(open.len() < 1000, "no limit");
    };
    assert_eq!(refused.status(), 429);
    drop(open);
    let deadline = std::time::Instant::now() + HANG;
    loop {
        let response = client::open(TcpStream::connect(lab.http).await.unwrap(), "GET", "/live", &[], None).await;
        if response.status() == 200 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "places are not given back");
        tokio::task::yield_now().await;
    }
}
