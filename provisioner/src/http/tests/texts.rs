// SPDX-License-Identifier: Apache-2.0
//! Texts from machines hold nothing that a reader cannot see.

use provisioner_api::text::is_invisible;

use super::*;

/// A text with one of each kind of what cannot be seen.
fn hostile(text: &str) -> String {
    format!("{text}\0\u{1b}[2J\r\u{9b}\u{ad}\u{61c}\u{200b}\u{200e}\u{202e}\u{2060}\u{2066}\u{fe0f}\u{feff}\u{e0041}")
}

fn each_text(value: &Value, look: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, look)),
        Value::Object(fields) => fields.values().for_each(|field| each_text(field, look)),
        _ => {}
    }
}

#[tokio::test]
async fn what_a_machine_says_is_shown_without_what_cannot_be_seen() {
    let lab = Lab::start().await;
    let key = Key::new();
    let mut register = introduction(1, "b1", Life::Ram);
    let inventory = &mut register.inventory;
    inventory.cpu.model = hostile("Core i5");
    inventory.smbios.system_product = Some(hostile("OptiPlex"));
    inventory.smbios.system_serial = Some(hostile("SERIAL7"));
    inventory.nics[0].driver = Some(hostile("e1000e"));
    inventory.disks[0].model = Some(hostile("WD5000"));
    inventory.disks[0].serial = Some(hostile("WD-1"));
    let body = serde_json::to_value(&register).unwrap();
    let answer = lab.node(Some(&key), "POST", path::REGISTER, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let who: Registered = serde_json::from_slice(&answer.body).unwrap();
    let report = json!({"kind": "note", "text": hostile("fan is loud")});
    assert_eq!(lab.event(&key, "b1", 1, report).await, 204);
    let detail = json!({"boot_id": "b1", "stage": "waiting", "permille": 0, "detail": hostile("listening")});
    assert_eq!(
        lab.node(Some(&key), "POST", path::PROGRESS, Some(&detail)).await.status,
        204
    );

    let node = lab
        .operator("GET", &format!("/api/v1/nodes/{}", who.name), None)
        .await
        .json();
    let list = lab.operator("GET", "/api/v1/nodes", None).await.json();
    for shown in [&node, &list] {
        each_text(shown, &mut |text| assert!(!text.contains(is_invisible), "{text:?}"));
    }
    assert_eq!(node["inventory"]["disks"][0]["model"], json!("WD5000[2J"));
    assert_eq!(node["inventory"]["disks"][0]["serial"], json!("WD-1[2J"));
    for page in ["/".to_owned(), format!("/nodes/{}", who.name)] {
        let page = lab.plain("GET", &page).await.text();
        assert!(page.contains("OptiPlex[2J"), "{page}");
        let hidden = page.chars().find(|c| is_invisible(*c) && *c != '\n');
        assert_eq!(hidden, None, "{page:?}");
    }
}
