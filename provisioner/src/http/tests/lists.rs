// SPDX-License-Identifier: Apache-2.0
//! However many machines there are, an answer has a bound.

use super::*;

/// Machines that wait for approval, as many as fit.
fn crowd(lab: &Lab, machines: u32) {
    for number in 0..machines {
        let mut register = introduction(1, "b1", Life::Ram);
        let inventory = &mut register.inventory;
        inventory.nics[0].mac = format!("52:54:00:88:{:02x}:{:02x}", number / 256, number % 256);
        inventory.smbios.system_uuid = None;
        inventory.smbios.system_serial = None;
        inventory.disks[0].serial = None;
        // A liar's: as large as is taken.
        inventory.smbios.bios_vendor = Some("x".repeat(1000));
        inventory.smbios.system_product = Some("x".repeat(1000));
        let from = std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
        lab.app
            .register(&format!("key-{number}"), from, &register, now())
            .unwrap();
    }
}

#[tokio::test]
async fn a_list_comes_in_parts_and_the_command_line_reads_all_of_it() {
    let lab = Lab::start().await;
    crowd(&lab, 1100);
    let names = |answer: &Answer| -> Vec<String> {
        let nodes = answer.json();
        let nodes = nodes.as_array().unwrap();
        nodes
            .iter()
            .map(|node| node["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = lab.operator("GET", "/api/v1/nodes", None).await;
    assert_eq!(names(&first).len(), 500);
    assert!(first.body.len() < 1_000_000, "{} bytes", first.body.len());
    let after = names(&first).last().unwrap().clone();
    let next = lab
        .operator("GET", &format!("/api/v1/nodes?after={after}&limit=1000"), None)
        .await;
    assert_eq!(names(&next).len(), 600);
    for limit in [0, 1001] {
        let answer = lab.operator("GET", &format!("/api/v1/nodes?limit={limit}"), None).await;
        assert_eq!(answer.status, 422, "{limit}");
    }
    let client = crate::api_client::Client::new(&lab.control);
    let all: Vec<provisioner_api::NodeSummary> = client
        .parts("/api/v1/nodes", |node: &provisioner_api::NodeSummary| &node.name)
        .await
        .unwrap();
    let mut read: Vec<String> = all.into_iter().map(|node| node.name).collect();
    read.dedup();
    assert_eq!(read.len(), 1100);
    let page = lab.plain("GET", "/").await;
    assert!(page.body.len() < 2_000_000, "{} bytes", page.body.len());
    assert!(page.text().contains("600 more machines are not shown"));
}
