// SPDX-License-Identifier: Apache-2.0
//! The API's description is true: a judge that others wrote asks everything that it allows and forbids.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::{Context, Result, ensure};
use provisioner_api::Life;
use tests::folder::Folder;
use tests::machine::Machine;
use tests::node::tls::Key;
use tests::node::{Node, inventory};
use tests::rom::Kind;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::validators;

/// Where the API is in the laboratory.
const API: &str = "https://10.77.0.1:8443";

/// What is asked of each operation: enough to try every bound from both sides, few enough for a minute.
const EXAMPLES: &str = "12";

/// A stream of news never ends; that a well-formed question comes too often is no refusal of its form.
const CONFIG: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 429]

# A plan comes back as it was shown; what nodes say of a disk may grow, so that the description leaves that open.
[[operations]]
include-path = "/api/v1/nodes/{name}/approve"
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 422, 429]
"#;

#[test]
fn a_judge_of_apis_finds_nothing_that_the_description_does_not_say() {
    // Fetched out here: in the laboratory there is nowhere to fetch from.
    let mut judge = validators::schemathesis().unwrap();
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        machine.run_until_serving(PATIENCE)?;
        let key = registered(street, &machine)?;
        let folder = Folder::new()?;
        let bundle = folder.path().join("node.pem");
        std::fs::write(&bundle, key.to_bundle()?).context("keeping a key")?;
        std::fs::write(folder.path().join("schemathesis.toml"), CONFIG).context("writing its settings")?;
        judge
            .current_dir(folder.path())
            .arg("run")
            .arg(format!("{API}/api/openapi.json"))
            .args(["--url", API, "--tls-verify", "false", "--no-color", "--warnings", "off"])
            .args(["--header", &format!("Authorization: Bearer {}", street.token("judge")?)])
            .arg("--request-cert")
            .arg(&bundle)
            .args(["--include-tag", "operator", "--include-tag", "node"])
            .args(["--exclude-path", "/api/v1/events/stream"])
            .args([
                "--max-examples",
                EXAMPLES,
                "--generation-deterministic",
                "--continue-on-failure",
            ])
            .args(["--suppress-health-check", "all"]);
        let said = judge.output().context("running the judge")?;
        let words = String::from_utf8_lossy(&said.stdout);
        ensure!(
            said.status.success(),
            "{words}\n{}",
            String::from_utf8_lossy(&said.stderr)
        );
        ensure!(street.server.is_running(), "the server fell");
        let log = street.server.log();
        ensure!(
            !log.contains("panicked") && !log.contains("a request failed"),
            "{}",
            street.server.log_tail(40)
        );
        Ok(())
    })
    .unwrap();
}

/// The key of a machine that the server knows.
fn registered(street: &Street<'_>, known: &Machine) -> Result<Key> {
    let stranger = street.machine(Kind::UefiX64, 2);
    let key = Key::new()?;
    let pem = key.to_pem();
    let pin = &known
        .disk
        .system
        .as_ref()
        .context("the system of the known machine")?
        .pin;
    let api = "10.77.0.1:8443".parse().context("the API's address")?;
    let mut node = Node::start(street.address()?, api, pin, key)?;
    node.register(Life::Ram, &inventory::of(&stranger.rom))?;
    Key::from_pem(&pem)
}
