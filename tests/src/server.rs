// SPDX-License-Identifier: Apache-2.0
//! A laboratory for fakes: the real provisioner with made-up images, and a cable on which any number of machines that
//! exist only in this program boot from it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use provisioner_api::{ImportLine, NodeSummary, Token};
use serde_json::json;

use crate::lab::{BRIDGE, Lab, SERVER, Server, Wire};
use crate::machine::Machine;
use crate::made_up::{self, LOADERS, SIGNED, Signature};
use crate::rom::Kind;
use crate::rom::ether::Ether;
use crate::space::Space;

/// The interface at the fakes' end of the cable.
const INTERFACE: &str = "wire";
/// Bytes of the made-up node image that do not compress.
const IMAGE: usize = 300_000;
/// For anything that a busy machine with two processors does in the end.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What every yard's configuration says; a story adds its own. Nobody else is on this cable, so that there is no
/// need to listen for other servers first. Every address of the pool is the fakes' from the start, so nobody is asked
/// whether he uses it.
pub const ALONE: &str = "\n[dhcp]\nmode = \"full\"\ncheck = false\n";
/// The same where others may lease.
pub const AUTO: &str = "\n[dhcp]\ncheck = false\n";
/// Approves every machine, as a rule of a lab that trusts its cable.
pub const EVERYBODY: &str = "\n[[auto_approve]]\nname = \"everybody\"\n";

/// The provisioner and the cable.
pub struct Yard {
    /// Where the fakes' cards are.
    pub wire: Wire,
    /// The provisioner and its network.
    pub lab: Lab,
    /// What signs the made-up images.
    pub signature: Signature,
}

impl Yard {
    /// A running provisioner with made-up images, configured with these sections besides the laboratory's own.
    pub fn new(sections: &str) -> Result<Self> {
        let mut yard = Self::dark(24, sections)?;
        yard.lab.start_server()?;
        yard.import_images()?;
        Ok(yard)
    }

    /// The same with the provisioner not started yet and no images, on a network with this many bits for itself.
    pub fn dark(prefix: u8, sections: &str) -> Result<Self> {
        let mut lab = Lab::new()?;
        let signature = Signature::new();
        lab.server().configure(sections)?;
        let config = lab.server().config_file();
        let keys = config
            .parent()
            .context("the configuration's folder")?
            .join("trusted-keys");
        signature.trust(&keys, "made-up")?;
        let wire = lab.wire()?;
        if prefix != 24 {
            let switch = lab.space();
            switch.ip(&format!("addr flush dev {BRIDGE}"))?;
            switch.ip(&format!("addr add {SERVER}/{prefix} dev {BRIDGE}"))?;
            wire.space().ip(&format!("addr flush dev {INTERFACE}"))?;
            wire.space()
                .ip(&format!("addr add {}/{prefix} dev {INTERFACE}", wire.address()))?;
        }
        wire.space().ip(&format!("link set {INTERFACE} promisc on"))?;
        // Every address of the pool is this end's: whatever is leased, sockets can be bound to it at once.
        let pool = u32::from(SERVER.parse::<Ipv4Addr>().context("the server's address")?) & (u32::MAX << (32 - prefix));
        let pool = Ipv4Addr::from(pool | 1 << (31 - prefix));
        wire.space()
            .ip(&format!("route add local {pool}/{} dev lo", prefix + 1))?;
        Ok(Self { wire, lab, signature })
    }

    /// Imports a made-up RAM environment and node image.
    pub fn import_images(&mut self) -> Result<()> {
        let (ram, image) = self.made_up_images()?;
        self.lab.server().import(&ram)?;
        self.lab.server().import(&image)
    }

    /// A made-up RAM environment and node image, not imported.
    pub fn made_up_images(&self) -> Result<(PathBuf, PathBuf)> {
        let place = self.lab.folder();
        Ok((
            made_up::ram(place, "1", &self.signature)?,
            made_up::image(place, "1", IMAGE, &self.signature)?,
        ))
    }

    /// Imports a made-up ready-made image.
    pub fn import_cloud_image(&mut self) -> Result<()> {
        let image = made_up::cloud_image(self.lab.folder(), "1", IMAGE, &self.signature)?;
        self.lab.server().import(&image)
    }

    /// Imports a RAM environment with which UEFI starts shim and GRUB.
    pub fn import_signed_ram(&mut self) -> Result<()> {
        let mut loaders = [&LOADERS[..], &SIGNED].concat();
        loaders.sort_unstable();
        let loaders: Vec<(&str, usize)> = loaders.into_iter().map(|loader| (loader, made_up::LOADER)).collect();
        let sizes = [made_up::KERNEL; 2];
        let signed = made_up::ram_with(self.lab.folder(), "2", &self.signature, sizes, &loaders)?;
        self.server().import(&signed)
    }

    /// Imports a made-up boot medium of a system, of these files.
    pub fn import_medium(&mut self, os: &str, files: &[&str]) -> Result<()> {
        let folder = made_up::medium(self.lab.folder(), os, files)?;
        self.lab.server().import_medium(os, &folder)
    }

    /// The provisioner.
    pub fn server(&mut self) -> &mut Server {
        self.lab.server()
    }

    /// Tells a story at the fakes' end of the cable.
    pub fn tell<T: Send>(&mut self, story: impl FnOnce(&mut Street<'_>) -> Result<T> + Send) -> Result<T> {
        let (server, space) = self.lab.server_and_space();
        let wire = &self.wire;
        wire.run(|| {
            let ether = Arc::new(Ether::open(INTERFACE)?);
            story(&mut Street {
                server,
                ether,
                space,
                wire,
            })
        })
    }
}

/// The fakes' end of the cable.
pub struct Street<'a> {
    /// The provisioner.
    pub server: &'a mut Server,
    /// The cable.
    pub ether: Arc<Ether>,
    /// Where the provisioner runs.
    pub space: &'a Space,
    wire: &'a Wire,
}

impl Street<'_> {
    /// Starts the provisioner again, after it was killed or stopped.
    pub fn start_server(&mut self) -> Result<()> {
        self.server.start(self.space)
    }

    /// A new machine, off.
    pub fn machine(&self, kind: Kind, number: u32) -> Machine {
        Machine::new(&self.ether, kind, number)
    }

    /// An address that is nobody's machine.
    pub fn address(&self) -> Result<Ipv4Addr> {
        self.wire.address().parse().context("the cable's address")
    }

    /// A URL of the server's plain HTTP.
    pub fn url(&self, path: &str) -> String {
        format!("http://{SERVER}:8080{path}")
    }

    /// Approves a node by name or id, with what is shown of it.
    pub fn approve(&self, node: &str) -> Result<()> {
        let path = format!("/api/v1/nodes/{node}");
        let plan = self.server.ask("GET", &format!("{path}/plan"), None)?.json()?;
        let approval = json!({ "confirmed": plan });
        let reply = self.server.ask("POST", &format!("{path}/approve"), Some(&approval))?;
        reply.json().map(drop).with_context(|| format!("approving {node}"))
    }

    /// Gives an operator's order.
    pub fn command(&self, node: &str, order: &str) -> Result<()> {
        let path = format!("/api/v1/nodes/{node}/{order}");
        let reply = self.server.ask("POST", &path, Some(&json!({})))?;
        reply.json().map(drop).with_context(|| format!("{order} {node}"))
    }

    /// Makes an API token.
    pub fn token(&self, name: &str) -> Result<String> {
        let answer = self
            .server
            .ask("POST", "/api/v1/tokens", Some(&json!({ "name": name })))?
            .json()?;
        let token: Token = serde_json::from_value(answer).context("understanding a token")?;
        Ok(token.token)
    }

    /// The node of this machine, as the list shows it.
    pub fn summary(&self, machine: &Machine) -> Result<NodeSummary> {
        let mac = machine.rom.mac_text();
        let nodes = self.server.nodes()?;
        let node = nodes.iter().find(|node| node.mac.as_deref() == Some(&mac));
        node.cloned()
            .with_context(|| format!("no node has the card {mac}: {nodes:#?}"))
    }

    /// The state of this machine's node.
    pub fn state(&self, machine: &Machine) -> Result<String> {
        Ok(self.summary(machine)?.state)
    }

    /// The value of a metric, its labels added up; 0 if it is not there.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let reply = self.server.ask("GET", "/metrics", None)?;
        let text = reply.text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = rest
                .strip_prefix('{')
                .map_or(Some(rest), |rest| rest.rsplit_once('}').map(|(_, value)| value));
            value?.strip_prefix(' ')?.trim().parse::<f64>().ok()
        });
        Ok(values.sum())
    }
}

/// The last line that an import said.
pub fn last_line(answer: &str) -> Result<ImportLine> {
    let line = answer.lines().last().context("an import that said nothing")?;
    serde_json::from_str(line).with_context(|| format!("understanding {line}"))
}
