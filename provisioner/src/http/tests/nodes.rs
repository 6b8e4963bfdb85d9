// SPDX-License-Identifier: Apache-2.0
//! What nodes may ask, and when.

use std::collections::BTreeMap;

use provisioner_api::Capsule;

use super::*;

const ANSWERED: u16 = 204;

#[tokio::test]
async fn only_the_clock_answers_a_caller_without_a_key() {
    let lab = Lab::start().await;
    let time = lab.node(None, "GET", path::TIME, None).await;
    assert!((time.json()["unix_ms"].as_i64().unwrap() - now()).abs() < 60_000);
    let register = serde_json::to_value(introduction(1, "b1", Life::Ram)).unwrap();
    for (method, path, body) in [
        ("POST", path::REGISTER, Some(&register)),
        ("GET", path::ORDERS, None),
        (
            "POST",
            path::EVENTS,
            Some(&json!({"boot_id": "b", "sequence": 1, "event": {"kind": "rebooting"}})),
        ),
        ("GET", path::CAPSULE, None),
    ] {
        let answer = lab.node(None, method, path, body).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "forbidden"),
            "{method} {path}"
        );
        assert!(answer.text().contains("certificate"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_key_that_never_registered_is_told_to_register() {
    let lab = Lab::start().await;
    let key = Key::new();
    for (method, path) in [("GET", path::ORDERS), ("GET", path::CAPSULE)] {
        let answer = lab.node(Some(&key), method, path, None).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "forbidden"),
            "{method} {path}"
        );
        assert!(answer.text().contains("register"), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_is_not_an_introduction_is_refused_with_the_field_named() {
    let lab = Lab::start().await;
    let key = Key::new();
    let mut body = serde_json::to_value(introduction(1, "b1", Life::Ram)).unwrap();
    body["inventory"]["cpu"]["threads"] = json!("two");
    let answer = lab.node(Some(&key), "POST", path::REGISTER, Some(&body)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (422, "unprocessable"));
    assert!(answer.text().contains("inventory.cpu.threads"), "{}", answer.text());
    body["version"] = json!("x".repeat(2_000_000));
    assert_eq!(
        lab.node(Some(&key), "POST", path::REGISTER, Some(&body))
            .await
            .problem(),
        "too-large"
    );
}

#[tokio::test]
async fn orders_come_at_once_when_they_are_new_and_wait_while_they_are_not() {
    let lab = Lab::start().await;
    let key = Key::new();
    let who = lab.register(&key, 1, "b1", Life::Ram).await;
    let first = lab.node(Some(&key), "GET", path::ORDERS, None).await.json();
    assert_eq!(first["order"]["do"], "wait", "{first}");
    let seen = first["revision"].as_u64().unwrap();
    let question = format!("{}?seen={seen}&wait=60", path::ORDERS);
    let waiting = lab.node(Some(&key), "GET", &question, None);
    let approving = async {
        let answer = lab
            .operator("POST", &format!("/api/v1/nodes/{}/approve", who.name), Some(&json!({})))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let (news, ()) = tokio::time::timeout(HANG, async { tokio::join!(waiting, approving) })
        .await
        .unwrap();
    assert_ne!(news.json()["revision"].as_u64().unwrap(), seen);
    assert_ne!(news.json()["order"], first["order"]);
}

#[tokio::test]
async fn a_node_that_waits_is_answered_when_the_server_stops() {
    let lab = Lab::start().await;
    let key = Key::new();
    lab.register(&key, 1, "b1", Life::Ram).await;
    let seen = lab.node(Some(&key), "GET", path::ORDERS, None).await.json()["revision"]
        .as_u64()
        .unwrap();
    let question = format!("{}?seen={seen}&wait=60", path::ORDERS);
    let waiting = lab.node(Some(&key), "GET", &question, None);
    let stopping = async {
        // Until the question is on its way nothing can be seen of it from here; stopping too early is refused by
        // the listener and would show as a failed connection.
        tokio::time::sleep(Duration::from_millis(300)).await;
        lab.stop.cancel();
    };
    let (answer, ()) = tokio::time::timeout(HANG, async { tokio::join!(waiting, stopping) })
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn the_capsule_is_given_to_its_own_machine_while_it_is_installed_and_to_nobody_else() {
    let lab = Lab::start().await;
    let key = Key::new();
    let who = lab.register(&key, 1, "b1", Life::Ram).await;
    let approve = format!("/api/v1/nodes/{}/approve", who.name);
    assert_eq!(
        lab.node(Some(&key), "GET", path::CAPSULE, None).await.status,
        403,
        "before approval"
    );
    assert_eq!(lab.operator("POST", &approve, Some(&json!({}))).await.status, 200);
    install(&lab, &key, "b2").await;
    assert_eq!(
        lab.event(&key, "b2", 3, json!({"kind": "written", "bytes": 1, "milliseconds": 1}))
            .await,
        ANSWERED
    );
    lab.register(&key, 1, "b3", Life::Installed).await;
    let capsule = capsule(&who.name, &key);
    let body = serde_json::to_value(&capsule).unwrap();
    assert_eq!(
        lab.node(Some(&key), "PUT", path::CAPSULE, Some(&body)).await.status,
        ANSWERED
    );
    assert_ne!(
        lab.node(Some(&key), "GET", path::CAPSULE, None).await.status,
        200,
        "an installed node has its own"
    );
    came_home(&lab, &key, "b3").await;

    let stranger = Key::new();
    lab.register(&stranger, 2, "s1", Life::Ram).await;
    assert_ne!(lab.node(Some(&stranger), "GET", path::CAPSULE, None).await.status, 200);
    assert_ne!(
        lab.node(Some(&stranger), "PUT", path::CAPSULE, Some(&body))
            .await
            .status,
        ANSWERED
    );
    no_secret_anywhere(&lab, &stranger, &capsule, &who.name).await;

    // A rebuild: the machine comes up in RAM with a key that nobody knows, is known by its facts, and gets itself back.
    let rebuild = format!("/api/v1/nodes/{}/rebuild", who.name);
    assert_eq!(lab.operator("POST", &rebuild, None).await.status, 200);
    let fresh = Key::new();
    install(&lab, &fresh, "b4").await;
    let given = lab.node(Some(&fresh), "GET", path::CAPSULE, None).await;
    assert_eq!(given.status, 200, "{}", given.text());
    assert!(serde_json::from_slice::<Capsule>(&given.body).unwrap() == capsule);
    assert_eq!(given.header("cache-control"), "no-store");
}

/// From its start in RAM to the point where the image is written.
async fn install(lab: &Lab, key: &Key, boot: &str) {
    lab.register(key, 1, boot, Life::Ram).await;
    assert_eq!(
        lab.event(key, boot, 1, json!({"kind": "checked", "findings": []}))
            .await,
        ANSWERED
    );
    assert_ne!(
        lab.node(Some(key), "GET", path::CAPSULE, None).await.status,
        200,
        "the disk is not cleared yet"
    );
    assert_eq!(
        lab.event(key, boot, 2, json!({"kind": "wiped", "discarded": true}))
            .await,
        ANSWERED
    );
}

async fn came_home(lab: &Lab, key: &Key, boot: &str) {
    let report = json!({
        "hypervisor": {"name": "QEMU", "version": "10", "libvirt": "11", "virtualization": "qemu"},
        "cpu_model": "Nehalem", "cpu_baseline": "x86-64-v2", "threads": 2, "memory": 1_000_000,
        "storage": null, "network": {"bridge": "br0", "card": "eth0", "address": "10.77.0.9/24"},
        "checks": [{"name": "libvirt", "passed": true, "detail": "runs"}],
    });
    assert_eq!(
        lab.event(key, boot, 1, json!({"kind": "came-home", "report": report}))
            .await,
        ANSWERED
    );
}

fn capsule(name: &str, key: &Key) -> Capsule {
    Capsule {
        name: name.into(),
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        node_key: key.pem(),
        ssh_host_keys: BTreeMap::from([("ssh_host_ed25519_key".into(), "OPENSSH-SECRET-MATERIAL".into())]),
        entries: BTreeMap::new(),
    }
}

/// Everything that an unapproved machine can fetch, searched for everything that is secret.
async fn no_secret_anywhere(lab: &Lab, stranger: &Key, capsule: &Capsule, other: &str) {
    let token = lab.app.create_token("program", "operator", now()).unwrap();
    let middle_of_key = capsule.node_key.lines().nth(1).unwrap().to_owned();
    let secrets = [
        token,
        "OPENSSH-SECRET-MATERIAL".into(),
        capsule.machine_id.clone(),
        middle_of_key,
        "PRIVATE KEY".into(),
    ];
    let document: Value = serde_json::from_slice(&openapi::json()).unwrap();
    for (template, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            for name in [other, "no-such"] {
                let path = template
                    .replace("{name}", name)
                    .replace("{version}", "1")
                    .replace("{file}", "chunks");
                if path == "/live" || path.ends_with("/stream") {
                    continue;
                }
                let method = method.to_uppercase();
                let plain = lab.plain(&method, &path).await;
                let node = lab.node(Some(stranger), &method, &path, Some(&json!({}))).await;
                for (where_from, answer) in [("plain HTTP", &plain), ("TLS", &node)] {
                    for secret in &secrets {
                        assert!(
                            !answer.text().contains(secret.as_str()),
                            "{where_from}: {method} {path} tells {secret}"
                        );
                    }
                }
                let guarded = template.starts_with("/api/v1/nodes") || template.starts_with("/api/v1/tokens");
                assert!(
                    !guarded || node.status == 401 || node.status == 404,
                    "{method} {path}: {}",
                    node.status
                );
            }
        }
    }
}

#[tokio::test]
async fn no_text_list_or_number_of_a_report_goes_beyond_its_bound() {
    let lab = Lab::start().await;
    let key = Key::new();
    let mut long = serde_json::to_value(introduction(1, "b1", Life::Ram)).unwrap();
    long["inventory"]["disks"][0]["serial"] = json!("x".repeat(5000));
    let mut many = serde_json::to_value(introduction(1, "b1", Life::Ram)).unwrap();
    many["inventory"]["nics"] = json!(vec![many["inventory"]["nics"][0].clone(); 257]);
    for (body, field) in [(long, "inventory.disks.0.serial"), (many, "inventory.nics")] {
        let answer = lab.node(Some(&key), "POST", path::REGISTER, Some(&body)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, "unprocessable"));
        assert!(answer.text().contains(field), "{}", answer.text());
    }
    let large = json!({ "boot_id": "b1", "pad": "x".repeat(300_000) });
    let answer = lab.node(Some(&key), "POST", path::REGISTER, Some(&large)).await;
    assert_eq!(answer.problem(), "too-large");
    lab.register(&key, 1, "b1", Life::Ram).await;
    let progress = |permille: u32, detail: &str| json!({ "boot_id": "b1", "stage": "writing", "permille": permille, "detail": detail });
    for (body, status) in [
        (progress(1000, "all"), 204),
        (progress(1001, "more than all"), 422),
        (progress(1, &"x".repeat(1001)), 422),
        (progress(1, &"x".repeat(64 << 10)), 413),
    ] {
        let answer = lab.node(Some(&key), "POST", path::PROGRESS, Some(&body)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let note = json!({ "kind": "note", "text": "x".repeat(1001) });
    assert_eq!(lab.event(&key, "b1", 1, note).await, 422);
}

#[tokio::test]
async fn the_inventory_of_a_large_server_is_taken() {
    let lab = Lab::start().await;
    let mut body = serde_json::to_value(introduction(1, "b1", Life::Ram)).unwrap();
    let mut disk = body["inventory"]["disks"][0].clone();
    disk["contents"]["partitions"] = json!(vec![
        json!({ "number": 1, "start": 1_048_576, "size": 250_000_000_000_u64, "kind": "Linux filesystem", "filesystem": "zfs_member", "label": "tank-of-the-storage" });
        4
    ]);
    body["inventory"]["disks"] = json!(vec![disk; 64]);
    body["inventory"]["nics"] = json!(vec![body["inventory"]["nics"][0].clone(); 32]);
    let answer = lab.node(Some(&Key::new()), "POST", path::REGISTER, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_machine_that_talks_too_much_is_told_to_come_back_later() {
    let lab = Lab::start().await;
    let key = Key::new();
    lab.register(&key, 1, "b1", Life::Ram).await;
    let note = || json!({ "kind": "note", "text": "x".repeat(1000) });
    let mut answers = Vec::new();
    for sequence in 1..=200 {
        answers.push(lab.event(&key, "b1", sequence, note()).await);
    }
    assert_eq!(answers[0], 204);
    assert_eq!(answers[199], 429, "{answers:?}");
    let another = Key::new();
    lab.register(&another, 2, "b1", Life::Ram).await;
    assert_eq!(lab.event(&another, "b1", 1, note()).await, 204, "another one is heard");
    let mut refused = false;
    for number in 3..200 {
        let body = serde_json::to_value(introduction(number, "b1", Life::Ram)).unwrap();
        let answer = lab.node(Some(&Key::new()), "POST", path::REGISTER, Some(&body)).await;
        refused |= answer.status == 429;
    }
    assert!(refused, "one address introduces no two hundred machines in a second");
}

#[tokio::test]
async fn a_retired_nodes_key_opens_nothing_on_any_route_and_its_open_question_ends() {
    let lab = Lab::start().await;
    let key = Key::new();
    let who = lab.register(&key, 1, "b1", Life::Ram).await;
    let seen = lab.node(Some(&key), "GET", path::ORDERS, None).await.json()["revision"].clone();
    let asked = format!("{}?seen={seen}&wait=60", path::ORDERS);
    let retired = async {
        while lab.app.presence.waiting(&who.node_id) == 0 {
            tokio::task::yield_now().await;
        }
        let path = format!("/api/v1/nodes/{}/retire", who.name);
        assert_eq!(lab.operator("POST", &path, None).await.status, 200);
    };
    let (open, ()) = tokio::join!(lab.node(Some(&key), "GET", &asked, None), retired);
    assert!((400..500).contains(&open.status), "{}", open.text());
    let document: Value = serde_json::from_slice(&openapi::json()).unwrap();
    let stranger = Key::new();
    for (route, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["tags"][0] != "node" || route == path::REGISTER || route == path::TIME {
                continue;
            }
            let method = method.to_uppercase();
            let body = (method != "GET").then(|| json!({}));
            let [retired, unknown] = [&key, &stranger].map(|key| lab.node(Some(key), &method, route, body.as_ref()));
            let (retired, unknown) = (retired.await, unknown.await);
            assert_eq!(retired.status, 403, "{method} {route}");
            assert_eq!(
                (retired.status, retired.text()),
                (unknown.status, unknown.text()),
                "{method} {route}"
            );
        }
    }
    let body = serde_json::to_value(introduction(1, "b2", Life::Installed)).unwrap();
    let answer = lab.node(Some(&key), "POST", path::REGISTER, Some(&body)).await;
    assert!((400..500).contains(&answer.status), "{}", answer.text());
}
