// SPDX-License-Identifier: Apache-2.0
//! What operators ask, and how they are told no.

use super::*;

#[tokio::test]
async fn over_tls_a_token_is_needed_and_a_revoked_one_is_none() {
    let lab = Lab::start().await;
    let bare = lab.node(None, "GET", "/api/v1/nodes", None).await;
    assert_eq!((bare.status, bare.problem().as_str()), (401, "unauthorized"));
    assert!(
        bare.header("www-authenticate").starts_with("Bearer"),
        "RFC 9110 section 11.6.1"
    );
    assert_eq!(lab.program("gleaner_0000", "GET", "/api/v1/nodes").await.status, 401);
    let made = lab
        .operator("POST", "/api/v1/tokens", Some(&json!({"name": "monitoring"})))
        .await;
    assert_eq!(made.status, 200, "{}", made.text());
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(lab.program(&token, "GET", "/api/v1/nodes").await.status, 200);
    let list = lab.operator("GET", "/api/v1/tokens", None).await;
    assert_eq!(list.json()[0]["name"], "monitoring");
    assert!(!list.text().contains(&token));
    assert_eq!(
        lab.operator("DELETE", "/api/v1/tokens/monitoring", None).await.status,
        204
    );
    assert_eq!(lab.program(&token, "GET", "/api/v1/nodes").await.status, 401);
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_others_go_on() {
    let lab = Lab::start().await;
    let stream = async |name: &str| {
        let token = lab.app.create_token(name, "operator", now()).unwrap();
        let header = format!("Bearer {token}");
        let headers = [("authorization", &*header)];
        client::tls_stream(lab.api, &lab.app.key.pin, "/api/v1/events/stream", &headers).await
    };
    let (mut one, mut other) = (stream("one").await, stream("other").await);
    for stream in [&mut one, &mut other] {
        assert!(client::next_piece(stream).await.is_some(), "it begins");
    }
    lab.app.revoke_token("one", "operator", now()).unwrap();
    assert_eq!(client::next_piece(&mut one).await, None, "it ends at once");
    lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    assert!(client::next_piece(&mut other).await.is_some(), "it goes on");
}

#[tokio::test]
async fn a_node_that_does_not_exist_is_404_and_a_state_that_does_not_allow_it_is_409() {
    let lab = Lab::start().await;
    for verb in [
        "approve", "reject", "confirm", "rebuild", "retry", "retire", "drain", "undrain",
    ] {
        let body = if verb == "reject" {
            json!({"why": "test"})
        } else {
            json!({})
        };
        let path = format!("/api/v1/nodes/no-such/{verb}");
        assert_eq!(
            lab.operator("POST", &path, Some(&body)).await.problem(),
            "not-found",
            "{verb}"
        );
    }
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    for verb in ["rebuild", "retry", "drain", "undrain"] {
        let answer = lab
            .operator("POST", &format!("/api/v1/nodes/{}/{verb}", who.name), None)
            .await;
        assert_eq!((answer.status, answer.problem().as_str()), (409, "conflict"), "{verb}");
        assert!(answer.text().contains("enrolled"), "{}", answer.text());
    }
    let node = lab
        .operator("GET", &format!("/api/v1/nodes/{}", who.name), None)
        .await
        .json();
    assert_eq!(node["state"], "enrolled", "nothing was changed");
}

#[tokio::test]
async fn bad_input_is_refused_with_the_field_named_and_changes_nothing() {
    let lab = Lab::start().await;
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    let approve = format!("/api/v1/nodes/{}/approve", who.name);
    let answer = lab.operator("POST", &approve, Some(&json!({"profile": 7}))).await;
    assert_eq!((answer.status, answer.problem().as_str()), (422, "unprocessable"));
    assert!(answer.text().contains("profile"));
    for body in [json!({"profile": "no-such"}), json!({"disk": "no-such"})] {
        let answer = lab.operator("POST", &approve, Some(&body)).await;
        assert!(
            matches!(answer.problem().as_str(), "conflict" | "not-found"),
            "{body}: {}",
            answer.text()
        );
    }
    assert_eq!(
        lab.operator("GET", "/api/v1/events?limit=many", None).await.problem(),
        "bad-request"
    );
    let import = lab
        .operator(
            "POST",
            "/api/v1/images/import",
            Some(&json!({"folder": "relative/path"})),
        )
        .await;
    assert_eq!(import.problem(), "unprocessable");
    assert_eq!(
        lab.operator("GET", &format!("/api/v1/nodes/{}", who.name), None)
            .await
            .json()["state"],
        "enrolled"
    );
}

#[tokio::test]
async fn what_operators_do_is_written_down_with_who_did_it() {
    let lab = Lab::start().await;
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    let token = lab.app.create_token("script", "operator", now()).unwrap();
    let header = format!("Bearer {token}");
    let path = format!("/api/v1/nodes/{}/reject", who.name);
    let body = json!({"why": "belongs to the office"});
    let answer = client::tls(
        lab.api,
        &lab.app.key.pin,
        None,
        "POST",
        &path,
        &[("authorization", &header)],
        Some(&body),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let events = lab
        .operator("GET", &format!("/api/v1/events?node={}", who.name), None)
        .await
        .json();
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!(last["actor"], "token script", "{events}");
    let after = last["id"].as_i64().unwrap();
    let newer = lab
        .operator("GET", &format!("/api/v1/events?after={after}"), None)
        .await
        .json();
    assert_eq!(newer, json!([]));
}

#[tokio::test]
async fn an_import_tells_its_end_whatever_it_is() {
    let lab = Lab::start().await;
    let folder = tempfile::tempdir().unwrap();
    let client = crate::api_client::Client::new(&lab.control);
    let refused = client.import(folder.path(), |_, _| {}).await.unwrap_err();
    assert!(
        refused.downcast_ref::<crate::api_client::Refused>().is_some(),
        "{refused:#}"
    );
}

#[tokio::test]
async fn the_command_lines_client_hears_refusals_as_words() {
    let lab = Lab::start().await;
    let client = crate::api_client::Client::new(&lab.control);
    let status: provisioner_api::StatusReport = client.get("/api/v1/status").await.unwrap();
    assert!(
        status
            .services
            .iter()
            .any(|service| service.name == "http" && service.ok),
        "{status:?}"
    );
    let error = client.get::<Value>("/api/v1/nodes/no-such").await.unwrap_err();
    let refused = error.downcast_ref::<crate::api_client::Refused>().unwrap();
    assert_eq!(refused.0.status, 404);
    assert!(error.to_string().contains("no-such"), "{error}");
}

#[tokio::test]
async fn what_is_no_tls_is_hung_up_on_and_the_others_are_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lab = Lab::start().await;
    for bytes in [
        &b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0; 10_000],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x03\x00\x00",
    ] {
        let mut stream = tokio::net::TcpStream::connect(lab.api).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(HANG, stream.read_to_end(&mut heard))
            .await
            .expect("not hung up on");
        assert!(!heard.starts_with(b"HTTP"), "an answer without TLS");
    }
    assert_eq!(lab.node(None, "GET", path::TIME, None).await.status, 200);
}
