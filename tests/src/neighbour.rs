// SPDX-License-Identifier: Apache-2.0
//! Another DHCP server on the same cable: the router at home, in the office, in the lab's corner.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;

use crate::lab::Wire;
use crate::peer;

/// A server that leases addresses of the laboratory's network.
pub struct Neighbour {
    process: Child,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// What most routers run.
    Dnsmasq,
    /// ISC's new server.
    Kea,
}

/// What it leases: the lower part of the upper half of the laboratory's network.
const FIRST: &str = "10.77.0.130";
/// See [`FIRST`].
const LAST: &str = "10.77.0.190";

impl Neighbour {
    /// Starts one at the other end of `wire`; `folder` is for its files.
    pub fn start(make: Make, wire: &Wire, folder: &Path) -> Result<Self> {
        match make {
            Make::Dnsmasq => Self::dnsmasq(wire, &[]),
            Make::Kea => Self::kea(wire, folder, &[]),
        }
    }

    /// Starts dnsmasq with these options besides the usual ones.
    pub fn dnsmasq(wire: &Wire, more: &[&str]) -> Result<Self> {
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
        ]);
        command.args(["--no-ping", "--dhcp-authoritative", "--dhcp-leasefile=/dev/null"]);
        command.arg(format!("--dhcp-range={FIRST},{LAST},1h"));
        command.args(["--log-facility=/dev/null", "--interface=wire", "--bind-interfaces"]);
        command.args(more);
        Self::spawn(wire, &mut command).context("starting dnsmasq (package dnsmasq-base)")
    }

    /// Starts Kea with these options for all its clients.
    pub fn kea(wire: &Wire, folder: &Path, more: &[(&str, &str)]) -> Result<Self> {
        let more = more
            .iter()
            .map(|(name, data)| json!({ "name": name, "data": data, "always-send": true }));
        let options: Vec<_> = more
            .chain([json!({ "name": "routers", "data": wire.address() })])
            .collect();
        let config = folder.join("kea.json");
        let text = json!({ "Dhcp4": {
            "interfaces-config": { "interfaces": ["wire"], "re-detect": false },
            "lease-database": { "type": "memfile", "persist": false },
            "valid-lifetime": 3600,
            "subnet4": [{
                "subnet": "10.77.0.0/24",
                "pools": [{ "pool": format!("{FIRST} - {LAST}") }],
                "option-data": options,
            }],
            "loggers": [{ "name": "kea-dhcp4", "severity": "WARN", "output_options": [{ "output": "stderr" }] }],
        }});
        std::fs::write(&config, text.to_string()).context("writing Kea's configuration")?;
        let mut command = peer::kea()?.command();
        command.env("KEA_PIDFILE_DIR", folder).env("KEA_LOCKFILE_DIR", folder);
        command.arg("-c").arg(&config);
        Self::spawn(wire, &mut command).context("starting Kea")
    }

    fn spawn(wire: &Wire, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self {
            process: wire.space().spawn(command)?,
            address: wire.address().parse().context("the cable's address")?,
        })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
