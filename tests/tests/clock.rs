// SPDX-License-Identifier: Apache-2.0
//! Nodes take their time from the controller, whoever serves it there, and a server of time that does not is told of.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Child, Stdio};

use anyhow::Result;
use tests::lab::SERVER;
use tests::peer;
use tests::server::{ALONE, PATIENCE, Yard};
use tests::wait::until;

/// A laboratory whose server does not run yet.
fn yard() -> Yard {
    // Fetched out here: in the laboratory there is nowhere to fetch from.
    peer::chronyd().unwrap();
    peer::rdate().unwrap();
    Yard::dark(24, ALONE).unwrap()
}

/// chrony as the controller's own time server, with these directives.
fn time_server(yard: &Yard, directives: &str) -> Result<Child> {
    let folder = yard.lab.folder();
    let config = folder.join("chrony.conf");
    let pid = folder.join("chrony.pid");
    let text = format!("{directives}\ncmdport 0\nbindcmdaddress /\npidfile {}\n", pid.display());
    std::fs::write(&config, text)?;
    let mut command = peer::chronyd()?.command();
    // -x: it leaves the clock alone.
    command.args(["-d", "-x", "-u", "root", "-f"]).arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = yard.lab.space().spawn(&mut command)?;
    until("chrony's port", PATIENCE, || {
        Ok(yard
            .lab
            .run("cat", &["/proc/net/udp"])?
            .contains(":007B ")
            .then_some(()))
    })?;
    Ok(child)
}

/// What chrony says when it asks for the time once.
fn chrony_asks(yard: &mut Yard) -> Result<String> {
    let client = yard.lab.wire()?;
    let mut command = peer::chronyd()?.command();
    command.args(["-Q", "-t", "20", "-u", "root", "-f", "/dev/null"]);
    command.arg(format!("server {SERVER} iburst")).stdin(Stdio::null());
    client.run(|| {
        let output = command.output()?;
        Ok(format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))
    })
}

/// Waits until the status says this of the time.
fn until_told(yard: &Yard, words: &str) {
    let told = until(words, PATIENCE, || {
        let status = yard.lab.control().get("/api/v1/status")?;
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let ntp = services.iter().find(|service| service["name"] == "ntp");
        Ok(ntp.map(ToString::to_string).filter(|line| line.contains(words)))
    });
    told.unwrap();
}

#[test]
fn clients_that_others_wrote_take_the_time_from_the_provisioner() {
    let mut yard = yard();
    yard.lab.start_server().unwrap();
    let said = chrony_asks(&mut yard).unwrap();
    assert!(
        said.contains("System clock wrong by 0.0") || said.contains("System clock wrong by -0.0"),
        "{said}"
    );
    let client = yard.lab.wire().unwrap();
    let mut rdate = peer::rdate().unwrap().command();
    rdate.args(["-n", "-p", SERVER]);
    let said = client.space().run_program(&mut rdate).unwrap();
    let year = jiff::Zoned::now().year().to_string();
    assert!(said.contains(&year), "{said}");
    until_told(&yard, "port 123");
}

#[test]
fn a_time_server_of_this_machine_goes_before_and_is_seen_to_serve() {
    let mut yard = yard();
    let mut chronyd = time_server(&yard, "local stratum 8\nallow 10.77.0.0/24").unwrap();
    yard.lab.start_server().unwrap();
    until_told(&yard, "serves the time");
    until_told(&yard, "chronyd (process ");
    let said = chrony_asks(&mut yard).unwrap();
    assert!(said.contains("System clock wrong by "), "{said}");
    let _ = chronyd.kill();
    let _ = chronyd.wait();
}

#[test]
fn a_time_server_of_this_machine_that_does_not_serve_nodes_is_told_of() {
    for (directives, trouble) in [
        ("local stratum 8\nallow 192.0.2.0/24", "gives no time at 10.77.0.1"),
        ("allow 10.77.0.0/24", "says that its clock is not set"),
    ] {
        let mut yard = yard();
        let mut chronyd = time_server(&yard, directives).unwrap();
        yard.lab.start_server().unwrap();
        until_told(&yard, trouble);
        let _ = chronyd.kill();
        let _ = chronyd.wait();
    }
}
