// SPDX-License-Identifier: Apache-2.0
//! What is described is served, where it is said to be served and nowhere else.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tower::ServiceExt;

use super::*;

/// Every operation of the description: group, method, path with something in place of its variables.
fn operations() -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_slice(&openapi::json()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let group = operation["tags"][0].as_str().unwrap().to_owned();
            let path = path
                .replace("{name}", "no-such")
                .replace("{version}", "1")
                .replace("{*file}", "vmlinuz")
                .replace("{token}", "none")
                .replace("{sha256}", "0a")
                .replace("{file}", "vmlinuz");
            found.push((group, method.to_uppercase(), path));
        }
    }
    assert!(found.len() > 30, "{}", found.len());
    found
}

/// Streams do not end; that they begin is tested elsewhere.
fn is_stream(path: &str) -> bool {
    path == "/live" || path == "/api/v1/events/stream"
}

fn is_unknown_here(answer: &Answer) -> bool {
    answer.status == 404 && answer.text().contains("on this port") || answer.status == 405
}

#[tokio::test]
async fn everything_that_is_described_is_served_on_its_listener_and_not_on_the_others() {
    let lab = Lab::start().await;
    let token = lab.app.create_token("walk", "operator", now()).unwrap();
    let bearer = format!("Bearer {token}");
    for (group, method, path) in operations() {
        if is_stream(&path) {
            continue;
        }
        let on_plain = lab.plain(&method, &path).await;
        let on_tls = client::tls(
            lab.api,
            &lab.app.key.pin,
            None,
            &method,
            &path,
            &[("authorization", &bearer)],
            None,
        )
        .await;
        let on_control = lab.operator(&method, &path, None).await;
        let served = [on_plain, on_tls, on_control].map(|answer| !is_unknown_here(&answer));
        let expected = match group.as_str() {
            "boot" | "files" | "page" => [true, false, false],
            "node" => [false, true, false],
            "operator" => [false, true, true],
            "control" => [false, false, true],
            // The clock belongs to the node API, though anybody may ask it.
            "about" if path == path::TIME => [false, true, false],
            "about" => [true, true, true],
            other => panic!("group {other}"),
        };
        assert_eq!(served, expected, "{method} {path}: plain HTTP, TLS, control socket");
    }
}

#[tokio::test]
async fn no_public_answer_tells_by_what_a_machine_is_known() {
    let lab = Lab::start().await;
    let key = Key::new();
    let who = lab.register(&key, 1, "b1", Life::Ram).await;
    let known = [
        "52:54:00:77:01:01",
        "52-54-00-77-01-01",
        "4c4c4544-0042-3510-8052-b4c04f573701",
        "serial0001",
        "disk-of-001",
        "wwn-of-001",
    ];
    // A machine tells of itself wherever it may say something.
    let secrets = known.join(" ");
    let progress = json!({"boot_id": "b1", "stage": "waiting", "permille": 1, "detail": secrets});
    assert_eq!(
        lab.node(Some(&key), "POST", path::PROGRESS, Some(&progress))
            .await
            .status,
        204
    );
    lab.event(&key, "b1", 1, json!({"kind": "note", "text": secrets})).await;
    let plan = lab
        .operator("GET", &format!("/api/v1/nodes/{}/plan", who.name), None)
        .await;
    assert!(
        plan.text().contains("disk-of-001"),
        "operators are told: {}",
        plan.text()
    );
    let approve = json!({"confirmed": plan.json()});
    let path = format!("/api/v1/nodes/{}/approve", who.name);
    assert_eq!(lab.operator("POST", &path, Some(&approve)).await.status, 200);
    let cause = json!({"cause": "disk-unhealthy", "disk": "disk-of-001", "detail": secrets});
    assert_eq!(
        lab.event(&key, "b1", 2, json!({"kind": "failed", "cause": cause}))
            .await,
        204
    );
    assert_eq!(lab.app.summary(&who.name, now()).unwrap().state, "failed");
    let mut asked = Vec::new();
    for (group, method, path) in operations() {
        if method == "GET" && matches!(group.as_str(), "boot" | "files" | "page" | "about") && !is_stream(&path) {
            asked.push(path.replace("no-such", &who.name));
        }
    }
    assert!(asked.iter().any(|path| path.starts_with("/nodes/")) && asked.contains(&"/metrics".to_owned()));
    for path in asked {
        let text = lab.plain("GET", &path).await.text().to_lowercase();
        for value in known {
            assert!(!text.contains(value), "{path} tells {value}: {text}");
        }
    }
    for query in ["", &format!("?node={}", who.node_id)] {
        let piece = live::page_until(&lab, &format!("/live{query}"), &who.name)
            .await
            .to_lowercase();
        for value in known {
            assert!(!piece.contains(value), "/live{query} tells {value}: {piece}");
        }
    }
}

/// A request to an operator route: its method, its path, and whether it takes a body.
fn operator_routes() -> Vec<(String, String, bool)> {
    let document: Value = serde_json::from_slice(&openapi::json()).unwrap();
    let takes_body = |method: &str, path: &str| {
        let described = document["paths"].as_object().unwrap().iter();
        described
            .filter(|(known, _)| known.replace("{name}", "node-001") == path)
            .any(|(_, item)| item[method.to_lowercase()]["requestBody"].is_object())
    };
    let routes = operations().into_iter();
    let routes = routes.filter(|(group, ..)| group == "operator" || group == "control");
    routes
        .map(|(_, method, path)| {
            let path = path.replace("no-such", "node-001");
            let body = takes_body(&method, &path);
            (method, path, body)
        })
        .collect()
}

#[tokio::test]
async fn an_operator_route_refuses_what_it_does_not_understand_and_does_nothing() {
    let lab = Lab::start().await;
    let who = lab.register(&Key::new(), 1, "b1", Life::Ram).await;
    assert_eq!(who.name, "node-001");
    let before = lab.app.events(None, None, 100).unwrap();
    let bodies = [
        r#"{"dsk":"vda"}"#,
        r#"{"Disk":"vda"}"#,
        r#"{"name":"a","why":"b","folder":"/x","ids":[],"dsk":null}"#,
        "[]",
        r#"["compute"]"#,
        r#"["compute",null,null]"#,
        r#""compute""#,
        "7",
        "null",
        r#"{"profile":{},"why":7,"name":[],"folder":1,"ids":"x","max":"x"}"#,
        r#"{"profile":"compute","profile":"compute","why":"a","why":"b","name":"a","name":"b","folder":"/x","folder":"/y","ids":[],"ids":[]}"#,
        r#"{"why":"a"} {"#,
        "{",
    ];
    for (method, path, takes_body) in operator_routes() {
        for body in bodies {
            let answer = client::raw_control(&lab.control, &method, &path, body).await;
            assert!(
                (400..500).contains(&answer.status),
                "{method} {path} {body}: {} {}",
                answer.status,
                answer.text()
            );
        }
        if takes_body {
            let answer = client::raw_control(&lab.control, &method, &path, "").await;
            assert!((400..500).contains(&answer.status), "{method} {path}: an empty body");
        }
        for query in ["?dsk=vda", "?profil=compute", "?limit=1&limit=2", "?name"] {
            let answer = client::raw_control(&lab.control, &method, &format!("{path}{query}"), "").await;
            assert!(
                (400..500).contains(&answer.status),
                "{method} {path}{query}: {}",
                answer.status
            );
        }
    }
    assert_eq!(lab.app.events(None, None, 100).unwrap(), before, "nothing was done");
    assert!(lab.app.tokens().unwrap().is_empty());
}

#[tokio::test]
async fn a_node_may_say_more_than_this_server_knows_but_not_in_another_shape() {
    let lab = Lab::start().await;
    let key = Key::new();
    let mut body = serde_json::to_value(introduction(1, "b1", Life::Ram)).unwrap();
    body["of-a-newer-version"] = json!({"a": [1]});
    body["inventory"]["disks"][0]["of-a-newer-version"] = json!([1]);
    let answer = lab.node(Some(&key), "POST", path::REGISTER, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    body["inventory"]["smbios"] = json!(vec![Value::Null; 12]);
    let answer = lab.node(Some(&key), "POST", path::REGISTER, Some(&body)).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("smbios"), "{}", answer.text());
    let event = json!(["b1", 1, {"kind": "rebooting"}]);
    let answer = lab.node(Some(&key), "POST", path::EVENTS, Some(&event)).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
}

#[tokio::test]
async fn what_people_see_is_given_under_names_of_the_controller_only() {
    let lab = Lab::start().await;
    let status = async |path: &str, host: &str| {
        let stream = tokio::net::TcpStream::connect(lab.http).await.unwrap();
        let answer = client::open(stream, "GET", path, &[("host", host)], None).await;
        answer.status().as_u16()
    };
    let own_name = nix::unistd::gethostname().unwrap().to_string_lossy().to_lowercase();
    for host in [
        "127.0.0.1",
        "127.0.0.1:8080",
        "localhost",
        "controller",
        "Controller.Gleaner.Internal.",
        &own_name,
    ] {
        assert_eq!(status("/", host).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "controller.evil.example",
        "198.51.100.7",
        "[2001:db8::7]",
        "gleaner.internal",
    ] {
        for path in ["/", "/nodes/node-001", "/live", "/metrics", "/api/openapi.json"] {
            assert_eq!(status(path, host).await, 421, "{host} {path}");
        }
        // Machines and those who watch whether the server is there may call it what they like.
        for path in ["/boot/ipxe?mac=52-54-00-77-01-01", "/healthz"] {
            assert_eq!(status(path, host).await, 200, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn paths_that_climb_out_find_nothing() {
    let lab = Lab::start().await;
    for path in [
        "/images/../../etc/passwd",
        "/images/..%2f..%2f..%2fetc/1/manifest.json",
        "/images/a/../chunks",
        "/images/%2e%2e/%2e%2e/chunks",
        "/ram/..%2f..%2ftls/vmlinuz",
        "/ram/1/..%2fram.json",
        "/loaders/..%2f..%2fgleaner.db",
        "/loaders/%00",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%ff%fe",
        "//etc/passwd",
        "/nodes/%2e%2e%2f%2e%2e",
    ] {
        let answer = lab.plain("GET", path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn health_is_what_the_state_and_the_services_are() {
    let lab = Lab::start().await;
    let answer = lab.plain("GET", "/healthz").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
    lab.app.report(ServiceStatus {
        name: "dhcp".into(),
        detail: "eth1 is gone".into(),
        ok: false,
    });
    let answer = lab.plain("GET", "/healthz").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "dhcp: eth1 is gone\n"));
    let service = |name: &str, ok| ServiceStatus {
        name: name.into(),
        detail: String::new(),
        ok,
    };
    lab.app.report(service("dhcp", true));
    // Installers fetch by themselves without it.
    lab.app.report(service(crate::packages::SERVICE, false));
    assert_eq!(lab.plain("GET", "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_state_that_cannot_be_written_is_told_by_health_status_and_doctor() {
    let lab = Lab::start().await;
    lab.app.registry.write_nothing_more();
    let answer = lab.plain("GET", "/healthz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("cannot be written"), "{}", answer.text());
    for path in ["/api/v1/status", "/api/v1/doctor"] {
        let told = lab.operator("GET", path, None).await.text();
        assert!(told.contains("cannot be written"), "{path}: {told}");
    }
}

#[tokio::test]
async fn figures_do_not_grow_with_what_strangers_ask() {
    let lab = Lab::start().await;
    lab.plain("GET", "/healthz").await;
    for number in 0..200 {
        lab.plain("GET", &format!("/nodes/stranger-{number}")).await;
        lab.plain("GET", &format!("/nowhere/{number}")).await;
        lab.plain(&format!("METHOD{number}"), "/healthz").await;
    }
    let figures = lab.plain("GET", "/metrics").await;
    assert!(figures.header("content-type").starts_with("text/plain"));
    let figures = figures.text();
    assert!(
        !figures.contains("stranger-") && !figures.contains("nowhere/") && !figures.contains("METHOD1"),
        "{figures}"
    );
    assert!(figures.contains("route=\"/nodes/{name}\""), "{figures}");
    for name in [
        "gleaner_build_info",
        "gleaner_nodes{state=\"ready\"}",
        "process_resident_memory_bytes",
        "gleaner_http_requests_total",
    ] {
        assert!(figures.contains(name), "{name} is missing: {figures}");
    }
}

#[tokio::test]
async fn a_boot_script_is_given_to_anybody_who_asks_however_badly() {
    let lab = Lab::start().await;
    for query in [
        "",
        "?mac=52-54-00-77-00-01&uuid=4c4c4544-0042-3510-8052-b4c04f573701&arch=bios",
        "?mac=52:54:00:77:00:01",
        "?mac=00-00-00-00-00-00&uuid=",
        "?mac=%0aexit&uuid=%0a%0d${net0/mac}",
        "?mac=ff-ff-ff-ff-ff-ff&unknown=1&platform=efi",
    ] {
        let answer = lab.plain("GET", &format!("/boot/ipxe{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let script = answer.text();
        assert!(script.starts_with("#!ipxe\n"), "{query}: {script}");
        assert!(!script.contains("\nexit\n"), "{query}: {script}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // Without a RAM environment the screen says so, and what to do.
    assert!(
        lab.plain("GET", "/boot/ipxe?mac=52-54-00-77-00-01")
            .await
            .text()
            .contains("STOPS HERE")
    );
    assert!(lab.app.nodes(now()).is_empty(), "a question makes no node");
}

#[tokio::test]
async fn the_page_brings_its_policy_and_its_files_may_be_kept() {
    let lab = Lab::start().await;
    let page = lab.plain("GET", "/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("No machine has come in yet"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let text = page.text();
    let files: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(files.len() >= 4);
    for file in files {
        let answer = lab.plain("GET", file).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(answer.header("cache-control").contains("immutable"), "{file}");
        let etag = answer.header("etag").to_owned();
        let again = client::plain(lab.http, "GET", file, &[("if-none-match", &etag)], None).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{file}");
        let bare = lab.plain("GET", file.split('?').next().unwrap()).await;
        assert_eq!(bare.header("cache-control"), "no-cache", "{file}");
    }
    let missing = lab
        .plain(
            "GET",
            "/nodes/<script>".replace('<', "%3C").replace('>', "%3E").as_str(),
        )
        .await;
    assert_eq!(missing.status, 404);
    assert!(missing.header("content-type").starts_with("text/html") && !missing.text().contains("<script>"));
}

/// Paths and queries of any kind, led to every route now and then.
fn any_target() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-z0-9.-]{0,12}",
        "[!-~]{0,20}",
        "(%[0-9a-fA-F]{2}){0,8}",
        Just("..%2f..".to_owned())
    ];
    let head = prop_oneof![
        Just("/boot/ipxe"),
        Just("/nodes/"),
        Just("/images/"),
        Just("/ram/1/"),
        Just("/loaders/"),
        Just("/install/"),
        Just("/install/none/"),
        Just("/assets/"),
        Just("/live"),
        Just("/"),
        Just("/metrics"),
    ];
    (head, word.clone(), word.clone(), word)
        .prop_map(|(head, tail, name, value)| format!("{head}{tail}?{name}={value}&mac={value}"))
}

#[test]
fn no_request_line_makes_the_server_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let lab = runtime.block_on(Lab::start());
    let web = Web {
        app: lab.app.clone(),
        hub: Arc::new(Hub::new(0, crate::live::PACE)),
        api_port: 8443,
        stop: lab.stop.clone(),
        pages: Arc::default(),
    };
    let router = plain(web);
    let peer = listener::Peer {
        channel: listener::Channel::Plain,
        address: Some(lab.http),
        local: Some(lab.http),
        key: None,
    };
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 400,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(
        &(any_target(), prop_oneof!["GET", "HEAD", "POST"]),
        |(target, method)| {
            // What is no URI at all is answered by hyper before any of this.
            let Ok(request) = axum::http::Request::builder()
                .method(method.as_str())
                .uri(&target)
                .body(axum::body::Body::empty())
            else {
                return Ok(());
            };
            let mut request = request;
            request.extensions_mut().insert(peer.clone());
            let status = runtime.block_on(router.clone().oneshot(request)).unwrap().status();
            prop_assert!(!status.is_server_error(), "{} {}: {}", method, target, status);
            Ok(())
        },
    );
    outcome.unwrap();
}
