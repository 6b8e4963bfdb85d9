// SPDX-License-Identifier: Apache-2.0
//! A fake machine: firmware, a disk and, between two power cuts, a fake node in one of its two lives.
//!
//! It does what real firmware and node-init do, one [`Machine::step`] at a time, so that a test can pull the plug,
//! kill the server or tell a lie between any two. A step that failed is tried again by the next one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use provisioner_api::{
    Capsule, DiskRef, Event, ImageRef, Install, Inventory, Life, Manifest, NodeConfig, NodeEvent, Order, RebootInto,
    Registered, Seed, Stage, cmdline,
};

use crate::installer::Installer;
use crate::node::tls::Key;
use crate::node::{self, Node, inventory};
use crate::rom::ether::Ether;
use crate::rom::script::Script;
use crate::rom::{self, Boot, Kind, Rom};

/// How long a question for orders may wait for news. Short beside real nodes' minute: tests end between two.
const PATIENCE: u32 = 2;
/// Between two tries of a step that failed.
const AGAIN: Duration = Duration::from_millis(100);

/// A machine. All but its power and what runs survive a power cut.
pub struct Machine {
    /// Firmware.
    pub rom: Rom,
    /// What it is made of.
    pub inventory: Inventory,
    /// What was written to its disk.
    pub disk: Disk,
    ether: Arc<Ether>,
    power: Power,
}

/// A disk and what happened to it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The system that starts from it.
    pub system: Option<System>,
    /// How often it was wiped or an image was written to its end.
    pub writes: u32,
}

/// An installed system.
#[derive(Clone, Debug)]
pub struct System {
    /// Host name.
    pub name: String,
    /// Its key, PEM.
    pub key: String,
    /// `HOST:PORT` of its controller.
    pub controller: String,
    /// The controller's pin.
    pub pin: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// `/etc/ssh/ssh_host_ed25519_key`.
    pub ssh_key: String,
    /// Which image it was, or which installer.
    pub image: String,
    /// The secret by which it introduces itself the first time, where an installer put it there.
    pub join: Option<String>,
    /// What is beside a ready-made image that has not set itself up yet.
    pub seed: Option<Seed>,
    /// The mark of its installation.
    pub mark: Option<String>,
}

#[derive(Default)]
enum Power {
    #[default]
    Off,
    On(Box<Session>),
    Installer(Box<Installer>),
}

/// What runs between two power cuts.
struct Session {
    life: Life,
    node: Node,
    address: Ipv4Addr,
    registered: Option<Registered>,
    seen: Option<u64>,
    unsent: Option<NodeEvent>,
    home: bool,
}

/// What a step was.
#[derive(Clone, Debug)]
pub enum Step {
    /// Firmware came as far as starting something, or stopped.
    Booted(Box<Boot>),
    /// It introduced itself.
    Registered(Registered),
    /// It has nothing to do, for a reason.
    Waiting(String),
    /// It told of an event, and the server has written it down.
    Reported(Box<Event>),
    /// It told of an event, and the server would not have it: the next order says what counts.
    Contradicted(String),
    /// It serves and gave a sign of life.
    Serving,
    /// It left its capsule with the server.
    KeptCapsule,
    /// It went down, and comes up again with the next step.
    Rebooted(RebootInto),
    /// Its installer or its first start has come to this stage, and the server heard it.
    Installing(&'static str),
}

impl Machine {
    /// A machine that is off, with an empty disk, on this cable.
    pub fn new(ether: &Arc<Ether>, kind: Kind, number: u32) -> Self {
        let rom = Rom::new(kind, number);
        Self {
            inventory: inventory::of(&rom),
            rom,
            disk: Disk::default(),
            ether: Arc::clone(ether),
            power: Power::Off,
        }
    }

    /// Pulls the plug. The next step presses the power button.
    pub fn cut_power(&mut self) {
        self.power = Power::Off;
    }

    /// The node that runs, to do with it what node-init would not.
    pub fn node(&mut self) -> Result<&mut Node> {
        match &mut self.power {
            Power::On(session) => Ok(&mut session.node),
            Power::Installer(_) | Power::Off => bail!("no node-init runs on {}", self.rom.mac_text()),
        }
    }

    /// The installer that runs.
    pub fn installer(&self) -> Result<&Installer> {
        match &self.power {
            Power::Installer(installer) => Ok(installer),
            Power::On(_) | Power::Off => bail!("no installer runs on {}", self.rom.mac_text()),
        }
    }

    /// Which life runs.
    pub fn life(&self) -> Option<Life> {
        match &self.power {
            Power::On(session) => Some(session.life),
            Power::Installer(_) | Power::Off => None,
        }
    }

    /// What the server said that it is, in this life.
    pub fn registered(&self) -> Option<&Registered> {
        match &self.power {
            Power::On(session) => session.registered.as_ref(),
            Power::Installer(_) | Power::Off => None,
        }
    }

    /// Does the next thing.
    pub fn step(&mut self) -> Result<Step> {
        let step = match &self.power {
            Power::Off => self.start(),
            Power::Installer(_) => self.install(),
            Power::On(session) if session.registered.is_none() => self.register(),
            Power::On(session) if session.unsent.is_some() => self.tell(),
            Power::On(session) if session.life == Life::Installed && !session.home => self.come_home(),
            Power::On(_) => self.obey(),
        };
        step.with_context(|| format!("the machine {}", self.rom.mac_text()))
    }

    /// Steps until `goal` accepts a step; a failed step is tried again until `limit`.
    pub fn run_until(&mut self, limit: Duration, mut goal: impl FnMut(&Step) -> bool) -> Result<Step> {
        let end = Instant::now() + limit;
        loop {
            match self.step() {
                Ok(step) if goal(&step) => return Ok(step),
                Ok(step) if Instant::now() > end => {
                    bail!(
                        "{} did not come there in {limit:?}; its last step: {step:?}",
                        self.rom.mac_text()
                    )
                }
                Ok(_) => {}
                Err(error) if Instant::now() > end => return Err(error).with_context(|| format!("for {limit:?}")),
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }

    /// Steps until it serves.
    pub fn run_until_serving(&mut self, limit: Duration) -> Result<()> {
        self.run_until(limit, |step| matches!(step, Step::Serving)).map(drop)
    }

    /// Steps up to a stage of its installer, or of the first start of a ready-made image.
    pub fn run_until_stage(&mut self, limit: Duration, stage: &str) -> Result<()> {
        let there = |step: &Step| matches!(step, Step::Installing(at) if *at == stage);
        self.run_until(limit, there).map(drop)
    }

    /// Steps until it waits for somebody, and says for what.
    pub fn run_until_waiting(&mut self, limit: Duration) -> Result<String> {
        match self.run_until(limit, |step| matches!(step, Step::Waiting(_)))? {
            Step::Waiting(why) => Ok(why),
            other => bail!("{other:?} is no waiting"),
        }
    }

    /// Firmware, network first.
    fn start(&mut self) -> Result<Step> {
        let boot = self.rom.boot(&self.ether)?;
        match &boot.script {
            Script::Discover { .. } => {
                boot.fetch_kernel()?;
                let word = |name: &str| {
                    boot.argument(name)
                        .with_context(|| format!("{name} is not on the command line"))
                };
                let controller: SocketAddr = word(cmdline::CONTROLLER)?.parse().context("the controller's address")?;
                let node = Node::start(boot.address, controller, word(cmdline::PIN)?, Key::new()?)?;
                self.power = Power::on(Life::Ram, node, boot.address);
            }
            Script::Install { arguments, .. } => {
                boot.fetch_kernel()?;
                let installer = Installer::start(boot.address, arguments, &self.inventory)?;
                self.power = Power::Installer(Box::new(installer));
            }
            Script::LocalDisk { .. } => {
                let system = self
                    .disk
                    .system
                    .as_ref()
                    .context("the disk has nothing to start from")?;
                if let Some(seed) = &system.seed {
                    let first_start = Installer::first_start(boot.address, seed)?;
                    self.power = Power::Installer(Box::new(first_start));
                    return Ok(Step::Booted(Box::new(boot)));
                }
                self.power = awake(system, boot.address)?;
            }
            Script::Ask { .. } => bail!("nobody presses a key, and the menu goes on to the machine's own disk"),
            Script::Stop { said } => bail!("the boot script stops the machine: {said:?}"),
        }
        Ok(Step::Booted(Box::new(boot)))
    }

    /// What an installer does: a stage a step.
    fn install(&mut self) -> Result<Step> {
        let Power::Installer(installer) = &mut self.power else {
            bail!("no installer runs")
        };
        let stage = installer.go_on()?;
        match stage {
            "partitioning" => {
                self.disk.system = None;
                self.disk.writes += 1;
            }
            "late" => {
                let seed = self.disk.system.take().and_then(|system| system.seed);
                let system = installed(installer)?;
                self.disk.system = Some(System { seed, ..system });
            }
            "done" if installer.from_disk => {
                // What its late step has enabled is started, without another start of the machine.
                let from = installer.from;
                let system = self.disk.system.as_mut().context("a first start without a system")?;
                system.seed = None;
                self.power = awake(system, from)?;
            }
            "done" => self.cut_power(),
            _ => {}
        }
        Ok(Step::Installing(stage))
    }

    fn register(&mut self) -> Result<Step> {
        let session = self.power.session()?;
        let on_disk = self.disk.system.clone();
        let system = self.disk.system.as_mut().filter(|_| session.life == Life::Installed);
        let join = system.as_ref().and_then(|system| system.join.clone());
        let mut registered = session.node.register_with(session.life, &self.inventory, join)?;
        if let Some(disk) = on_disk.filter(|_| registered.vouch && session.life == Life::Ram) {
            // What node-init in RAM reads off the disk.
            let key = Key::from_pem(&disk.key)?;
            let controller = disk.controller.parse().context("the controller's address")?;
            let mut installed = Node::start(session.address, controller, &disk.pin, key)?;
            if installed.vouch(&session.node.key).is_ok() {
                registered = session.node.register_with(session.life, &self.inventory, None)?;
            }
        }
        if let Some(system) = system.filter(|system| system.join.is_some()) {
            let kept = session.node.capsule()?;
            system.join = None;
            if let Some(capsule) = kept {
                // All that runs must know who it is: it starts again, with the key that the server has just learnt.
                system.machine_id = capsule.machine_id;
                system.ssh_key = capsule.ssh_host_keys.into_values().next().unwrap_or_default();
                self.cut_power();
                return Ok(Step::Registered(registered));
            }
        }
        session.registered = Some(registered.clone());
        Ok(Step::Registered(registered))
    }

    /// Sends what is still to be told; what the server refuses is not told again.
    fn tell(&mut self) -> Result<Step> {
        let session = self.power.session()?;
        let event = session.unsent.clone().context("nothing to tell")?;
        match session.node.send(&event) {
            Err(error) if node::status(&error).is_none_or(|status| status >= 500) => Err(error),
            sent => {
                session.unsent = None;
                session.seen = None;
                match sent {
                    Ok(()) => Ok(Step::Reported(Box::new(event.event))),
                    Err(error) => Ok(Step::Contradicted(error.to_string())),
                }
            }
        }
    }

    /// What the installed node-init does once a start: says what it offers, leaves its capsule.
    fn come_home(&mut self) -> Result<Step> {
        let system = self.disk.system.clone().context("an installed life without a system")?;
        let session = self.power.session()?;
        session.node.put_capsule(&capsule(&system))?;
        let report = inventory::report(&session.address.to_string());
        session.unsent = Some(session.node.event(Event::CameHome { report }));
        session.home = true;
        Ok(Step::KeptCapsule)
    }

    fn obey(&mut self) -> Result<Step> {
        let session = self.power.session()?;
        let orders = match session.node.orders(session.seen, PATIENCE) {
            Err(error) if session.life == Life::Ram && node::status(&error) == Some(403) => {
                // It is not known any more, or may come in now: it introduces itself again, as node-init does.
                session.registered = None;
                session.seen = None;
                return self.register();
            }
            orders => orders?,
        };
        session.seen = Some(orders.revision);
        let event = match orders.order {
            Order::Wait { why } => return Ok(Step::Waiting(why)),
            Order::Serve(_) => {
                session.node.heartbeat()?;
                return Ok(Step::Serving);
            }
            Order::Reboot { into, .. } => {
                session.node.report(Event::Rebooting)?;
                self.cut_power();
                return Ok(Step::Rebooted(into));
            }
            Order::Check { disk, need } => {
                session.node.progress(Stage::Checking, 0)?;
                check(&self.inventory, &disk, need)?;
                Event::Checked {
                    findings: vec!["a fake looked at it".into()],
                }
            }
            Order::Wipe { disk, second } => {
                check(&self.inventory, &disk, 0)?;
                second.map_or(Ok(()), |second| check(&self.inventory, &second, 0))?;
                self.disk.system = None;
                self.disk.writes += 1;
                Event::Wiped { discarded: true }
            }
            Order::Install(install) => {
                // Half an image does not start.
                self.disk.system = None;
                check(&self.inventory, &install.disk, 0)?;
                let (system, bytes) = write(&mut session.node, session.address, &install)?;
                self.disk.system = Some(system);
                self.disk.writes += 1;
                Event::Written {
                    bytes,
                    milliseconds: 1000,
                    mark: install.mark.clone(),
                }
            }
        };
        session.unsent = Some(session.node.event(event));
        self.tell()
    }
}

impl Power {
    fn on(life: Life, node: Node, address: Ipv4Addr) -> Self {
        let session = Session {
            life,
            node,
            address,
            registered: None,
            seen: None,
            unsent: None,
            home: false,
        };
        Self::On(Box::new(session))
    }

    fn session(&mut self) -> Result<&mut Session> {
        match self {
            Self::On(session) => Ok(session),
            Self::Installer(_) | Self::Off => bail!("no node-init runs"),
        }
    }
}

/// An installed system's node-init, calling from this address.
fn awake(system: &System, from: Ipv4Addr) -> Result<Power> {
    let controller = system.controller.parse().context("the controller's address")?;
    let node = Node::start(from, controller, &system.pin, Key::from_pem(&system.key)?)?;
    Ok(Power::on(Life::Installed, node, from))
}

/// All that an order says of a disk must be true of one disk of the machine.
fn check(inventory: &Inventory, wanted: &DiskRef, need: u64) -> Result<()> {
    let disk = inventory.disks.iter().find(|disk| wanted.names(disk));
    let disk = disk.with_context(|| format!("there is no disk {wanted:?}"))?;
    ensure!(disk.size >= need, "the disk is too small");
    Ok(())
}

/// Fetches what an installation takes, each byte checked, and gives the system its identity.
fn write(node: &mut Node, from: Ipv4Addr, install: &Install) -> Result<(System, u64)> {
    let (manifest, bytes) = fetch(from, &install.image)?;
    ensure!(
        manifest.cloud_init == install.seed.is_some(),
        "a seed for an image without cloud-init, or none for one with it"
    );
    if let Some(seed) = &install.seed {
        seed.validate().context("checking the seed")?;
    }
    node.progress(Stage::Writing, 500)?;
    let kept = node.capsule()?;
    let fresh = || hex::encode(rand::random::<[u8; 16]>());
    let system = System {
        name: install.name.clone(),
        key: kept
            .as_ref()
            .map_or_else(|| node.key.to_pem(), |capsule| capsule.node_key.clone()),
        controller: install.controller.clone(),
        pin: install.pin.clone(),
        machine_id: kept.as_ref().map_or_else(fresh, |capsule| capsule.machine_id.clone()),
        ssh_key: kept
            .and_then(|capsule| capsule.ssh_host_keys.into_values().next())
            .unwrap_or_else(fresh),
        image: format!("{} {}", install.image.name, install.image.version),
        join: None,
        seed: install.seed.clone(),
        mark: install.mark.clone(),
    };
    Ok((system, bytes))
}

/// The system that an installer leaves: a key of its own, and nothing of the node that was there before.
fn installed(installer: &Installer) -> Result<System> {
    let fresh = || hex::encode(rand::random::<[u8; 16]>());
    let target = installer.target()?;
    let config = target.config()?;
    Ok(System {
        name: target.file("/etc/hostname")?.trim().to_owned(),
        key: Key::new()?.to_pem(),
        controller: config.controller,
        pin: config.pin,
        machine_id: fresh(),
        ssh_key: fresh(),
        image: "by an installer".into(),
        join: Some(target.file(NodeConfig::JOIN_FILE)?.trim().to_owned()),
        seed: None,
        mark: None,
    })
}

fn fetch(from: Ipv4Addr, image: &ImageRef) -> Result<(Manifest, u64)> {
    let file = |name: &str| -> Result<Vec<u8>> {
        let url = format!("{}/{name}", image.url);
        let reply = rom::get(from, &url)?;
        ensure!(reply.status == 200, "{url} was answered with {}", reply.status);
        Ok(reply.body)
    };
    let manifest: Manifest = serde_json::from_slice(&file("manifest.json")?).context("understanding the manifest")?;
    manifest.validate().context("checking the manifest")?;
    file("manifest.json.minisig")?;
    let data = file("chunks")?;
    for chunk in &manifest.chunks {
        let at = usize::try_from(chunk.offset).context("an offset")?;
        let end = usize::try_from(chunk.offset + chunk.length).context("an end")?;
        let bytes = data.get(at..end).context("a chunk beyond the data")?;
        ensure!(
            blake3::hash(bytes).to_hex().as_str() == chunk.hash,
            "chunk {} is not what was signed",
            chunk.index
        );
    }
    Ok((manifest, data.len() as u64))
}

/// What an installed system leaves with the server.
pub fn capsule(system: &System) -> Capsule {
    Capsule {
        name: system.name.clone(),
        machine_id: system.machine_id.clone(),
        node_key: system.key.clone(),
        ssh_host_keys: BTreeMap::from([("ssh_host_ed25519_key".into(), system.ssh_key.clone())]),
        entries: BTreeMap::new(),
    }
}
