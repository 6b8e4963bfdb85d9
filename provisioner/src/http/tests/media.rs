// SPDX-License-Identifier: Apache-2.0
//! Boot media on the wire: what the list names, in whole and in parts, and nothing else.

use provisioner_api::{MediumImport, Verified};

use super::*;

/// Takes a medium of Ubuntu in; its path.
fn ubuntu(lab: &Lab) -> String {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("casper")).unwrap();
    for (place, text) in [
        ("casper/vmlinuz", "the kernel"),
        ("casper/initrd", "the initramfs"),
        ("installer.iso", "the whole disc"),
    ] {
        std::fs::write(folder.join(place), text).unwrap();
    }
    let arrival = MediumImport {
        folder: folder.to_str().unwrap().into(),
        os: "ubuntu-24.04".into(),
        release: "24.04.3".into(),
        source: "ubuntu.iso".into(),
        verified: Verified::Checksum,
    };
    lab.app
        .import_medium(&arrival, "operator", 1, &mut |_, _| {})
        .unwrap()
        .path
        .clone()
}

#[tokio::test]
async fn a_medium_is_served_in_whole_and_in_ranges() {
    let lab = Lab::start().await;
    let path = ubuntu(&lab);
    let whole = lab.plain("GET", &format!("{path}/casper/vmlinuz")).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "the kernel"));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let size = lab.plain("HEAD", &format!("{path}/installer.iso")).await;
    assert_eq!((size.status, size.header("content-length")), (200, "14"));
    let part = client::plain(
        lab.http,
        "GET",
        &format!("{path}/installer.iso"),
        &[("range", "bytes=4-8")],
        None,
    )
    .await;
    assert_eq!((part.status, part.text().as_str()), (206, "whole"));
    assert_eq!(part.header("content-range"), "bytes 4-8/14");
}

#[tokio::test]
async fn nothing_outside_of_a_medium_is_served() {
    let lab = Lab::start().await;
    let path = ubuntu(&lab);
    for outside in [
        "/",
        "/casper",
        "/casper/",
        "/medium.json",
        "/../medium.json",
        "/casper/../medium.json",
        "/casper/../casper/vmlinuz",
        "/%2e%2e/%2e%2e/server.key",
        "/..%2f..%2fserver.key",
        "//etc/passwd",
        "/casper%2fvmlinuz%00",
    ] {
        let answer = lab.plain("GET", &format!("{path}{outside}")).await;
        assert_eq!(answer.status, 404, "{outside}: {}", answer.text());
    }
    assert_eq!(lab.plain("GET", "/media/..%2f..%2f/server.key").await.status, 404);
}

#[tokio::test]
async fn media_are_listed_and_those_that_nobody_needs_are_removed() {
    let lab = Lab::start().await;
    let path = ubuntu(&lab);
    let list = lab.operator("GET", "/api/v1/media", None).await.json();
    assert_eq!(list[0]["os"], "ubuntu-24.04");
    assert_eq!(list[0]["verified"], json!({"kind": "checksum"}));
    let id = list[0]["id"].clone();
    let prune = |ids: Value| json!({ "ids": ids });
    let none = lab
        .operator("POST", "/api/v1/media/prune", Some(&prune(json!(["0000"]))))
        .await;
    assert_eq!(none.json(), json!([]));
    let removed = lab
        .operator("POST", "/api/v1/media/prune", Some(&prune(json!([id]))))
        .await;
    assert_eq!(removed.json()[0]["id"], id);
    assert_eq!(lab.plain("GET", &format!("{path}/installer.iso")).await.status, 404);
}

#[tokio::test]
async fn a_folder_that_is_no_medium_is_refused_in_words() {
    let lab = Lab::start().await;
    let arrival = |folder: &str| json!({"folder": folder, "os": "debian-12", "release": "", "source": "", "verified": {"kind": "nothing"}});
    let relative = lab
        .operator("POST", "/api/v1/media/import", Some(&arrival("here")))
        .await;
    assert_eq!(relative.status, 422);
    let absent = lab
        .operator("POST", "/api/v1/media/import", Some(&arrival("/nowhere")))
        .await;
    let line: Value = serde_json::from_str(absent.text().lines().last().unwrap()).unwrap();
    assert_eq!(line["kind"], "failed");
    assert!(
        line["problem"]["detail"]
            .as_str()
            .unwrap()
            .contains("there is no /nowhere"),
        "{line}"
    );
}
