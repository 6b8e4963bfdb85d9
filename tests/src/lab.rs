// SPDX-License-Identifier: Apache-2.0
//! A laboratory: a switch with nobody else on it, the provisioner, and PCs that can be plugged in.

mod beacon;
mod server;
mod wire;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

pub use server::{Config, Server};
pub use wire::Wire;

use crate::artifacts::Artifacts;
use crate::folder::Folder;
use crate::space::{Space, cable};
use crate::vm::{Accel, Cable, Pc, Spec};

/// The switch, and the interface by which the provisioner hangs on it.
pub const BRIDGE: &str = "br0";
/// The switch of the network next door, which the provisioner knows nothing of.
const NEXT_DOOR: &str = "br1";
/// The provisioner's address in every laboratory; each has a network of its own, so they never meet.
pub const SERVER: &str = "10.77.0.1";

/// A private network with a provisioner. Everything in it ends with it.
pub struct Lab {
    // Dropped in this order: programs and namespaces first, then the files that they use.
    beacon: Option<beacon::Beacon>,
    server: Server,
    space: Space,
    /// Programs and images.
    pub artifacts: Artifacts,
    folder: Folder,
    taps: u32,
    pcs: u32,
}

impl Lab {
    /// A laboratory with the network up and the provisioner not started yet.
    pub fn new() -> Result<Self> {
        let artifacts = Artifacts::find()?;
        let folder = Folder::new()?;
        let space = Space::new()?;
        // No spanning tree and no forwarding delay: a switch of the cheap kind.
        space.ip(&format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0"))?;
        space.ip(&format!("addr add {SERVER}/24 dev {BRIDGE}"))?;
        space.ip(&format!("link set {BRIDGE} up"))?;
        let server = Server::new(&artifacts, folder.path())?;
        Ok(Self {
            beacon: None,
            server,
            space,
            artifacts,
            folder,
            taps: 0,
            pcs: 0,
        })
    }

    /// As on most networks, a router announces itself by IPv6: without, iPXE waits 13 s for one at every start.
    pub fn with_router_advertisements(mut self) -> Result<Self> {
        self.beacon = Some(beacon::Beacon::start(&self.space)?);
        Ok(self)
    }

    /// Starts the provisioner and waits until it answers.
    pub fn start_server(&mut self) -> Result<()> {
        self.server.start(&self.space)
    }

    /// The provisioner.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// The provisioner and where it runs, for who kills and starts it in the middle of a story.
    pub fn server_and_space(&mut self) -> (&mut Server, &Space) {
        (&mut self.server, &self.space)
    }

    /// The provisioner, to ask it.
    pub fn control(&self) -> &Server {
        &self.server
    }

    /// Imports the images that `make images` built, as an operator would.
    pub fn import_images(&mut self) -> Result<()> {
        let (ram, node) = (self.artifacts.ram()?, self.artifacts.node_image()?);
        self.server.import(&ram)?;
        self.server.import(&node)
    }

    /// Plugs a new PC into the switch; it is off.
    pub fn pc(&mut self, spec: Spec, accel: Accel) -> Result<Pc> {
        self.pcs += 1;
        let folder = self.folder.path().join(format!("pc{}", self.pcs));
        let mut taps = Vec::new();
        for card in &spec.cards {
            taps.push(match card.cable {
                Cable::Switch => Some(self.tap(BRIDGE)?),
                Cable::NextDoor => Some(self.tap(NEXT_DOOR)?),
                Cable::Nowhere => None,
            });
        }
        Pc::new(spec, &folder, taps, accel)
    }

    /// How virtual PCs run here; the first question of a machine's life takes a while.
    pub fn accel(&self) -> Result<Accel> {
        if let Ok(word) = std::env::var("GLEANER_ACCEL") {
            return Ok(if word == "kvm" { Accel::Kvm } else { Accel::Tcg });
        }
        Accel::probe(&self.artifacts.ram()?.join("vmlinuz"), &self.artifacts.cache)
    }

    /// A cable from the switch to a space of its own, where fakes live.
    pub fn wire(&mut self) -> Result<Wire> {
        self.taps += 1;
        Wire::new(&self.space, BRIDGE, self.taps)
    }

    /// Another network next door, and a cable from its switch to a space of its own; make it before the PCs in it.
    pub fn next_door(&mut self) -> Result<Wire> {
        self.taps += 1;
        self.space
            .ip(&format!("link add {NEXT_DOOR} type bridge stp_state 0 forward_delay 0"))?;
        self.space.ip(&format!("link set {NEXT_DOOR} up"))?;
        Wire::new(&self.space, NEXT_DOOR, self.taps)
    }

    /// From now on the switch minds loops: a port is deaf for so many seconds after its link came up.
    pub fn spanning_tree(&self, deaf: u32) -> Result<()> {
        // Twice the forward delay: once for listening, once for learning. In hundredths of a second.
        let delay = deaf * 100 / 2;
        self.space.ip(&format!(
            "link set {BRIDGE} type bridge stp_state 1 forward_delay {delay}"
        ))
    }

    /// Where the provisioner runs.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The laboratory's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a program in the provisioner's network.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.space.run_program(Command::new(program).args(arguments))
    }

    /// A cable from the switch to a card.
    fn tap(&mut self, switch: &str) -> Result<String> {
        self.taps += 1;
        let name = format!("tap{}", self.taps);
        self.space.ip(&format!("tuntap add {name} mode tap"))?;
        self.space.ip(&format!("link set {name} master {switch} up"))?;
        Ok(name)
    }
}

/// Connects a space to a switch in another.
pub(crate) fn plug_into(switch: &str, space: &Space, end: &str, other: &Space, name: &str) -> Result<()> {
    cable(space, end, other, name)?;
    space
        .ip(&format!("link set {end} master {switch}"))
        .context("plugging a cable into a switch")
}
