// SPDX-License-Identifier: Apache-2.0
//! What joining needs of the world: the disk, the controller, and somebody who reads the screen.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use provisioner_api::{Capsule, Join, Life, NodeConfig, Register};

use crate::bridge::card;
use crate::capsule::CapsuleEntry;
use crate::client::{Client, ClientError};
use crate::durable;
use crate::inventory::{self, Senses};
use crate::key::NodeKey;
use crate::programs::{Programs, Shell};
use crate::serve::CONFIG;
use crate::serve::console::{Console, Sign};
use crate::vouch;

/// Programs that only send a message, or look at one file.
const QUICK: Duration = Duration::from_secs(20);

/// What a first start may have to do. Beyond this it is stuck, and starting again is as good as anything.
const FIRST_START: Duration = Duration::from_mins(5);

/// A test gives a world whose power fails.
pub(super) trait World {
    /// What is in a file; `None` if there is none.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a file. On return it survives a power cut.
    fn put(&mut self, file: &CapsuleEntry) -> io::Result<()>;
    /// Removes a file if it is there. On return that survives a power cut.
    fn remove(&mut self, path: &str) -> io::Result<()>;
    /// The kernel's id of this start.
    fn boot_id(&self) -> String;
    /// Introduces this system by its key and the join secret.
    fn register(&mut self, config: &NodeConfig, key: &NodeKey, secret: &str) -> Result<(), ClientError>;
    /// The identity that this node had before, if it had one.
    fn capsule(&mut self, config: &NodeConfig, key: &NodeKey) -> Result<Option<Capsule>, ClientError>;
    /// Shows people what is going on.
    fn say(&mut self, text: &str);
    /// Waits.
    fn sleep(&mut self, time: Duration);
}

/// The system that runs.
pub(super) struct System {
    boot_id: String,
    console: Console,
}

impl System {
    pub(super) fn open() -> Result<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot id")?;
        Ok(Self {
            boot_id: boot_id.trim().to_owned(),
            console: Console::new(root()),
        })
    }

    /// The node's own service takes over.
    pub(super) fn serve() -> Result<()> {
        tracing::info!("this system is a node");
        Shell.run(&["systemctl", "--no-block", "start", "node-init.service"], QUICK)?;
        Ok(())
    }

    /// Starts the machine again, when what its first start does for the first time (cloud-init, say) is done.
    pub(super) fn restart() -> Result<()> {
        // It says how the system is when it is up, and calls most of that a failure.
        let _ = Shell.run(&["systemctl", "is-system-running", "--wait"], FIRST_START);
        tracing::warn!("this system has its identity back; starting again, so that all that runs knows it");
        Shell.run(&["systemctl", "--no-block", "reboot"], QUICK)?;
        Ok(())
    }
}

impl World for System {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        durable::read(root(), path)
    }

    fn put(&mut self, file: &CapsuleEntry) -> io::Result<()> {
        durable::put(root(), file)?;
        // Where there is SELinux, a file has a kind that only its place tells; elsewhere there is no such program.
        let _ = Shell.run(&["restorecon", "-F", &format!("/{}", file.path)], QUICK);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        durable::remove(root(), path)
    }

    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }

    fn register(&mut self, config: &NodeConfig, key: &NodeKey, secret: &str) -> Result<(), ClientError> {
        let senses = Senses {
            booted: card::booted(root(), &config.controller),
            ..Senses::default()
        };
        let register = Register {
            boot_id: self.boot_id.clone(),
            life: Life::Installed,
            version: env!("CARGO_PKG_VERSION").into(),
            inventory: inventory::read(root(), &senses),
            join: Some(Join(secret.into())),
            vouches: vouch::is_readable_from_ram(root()),
        };
        client(config, key)?.register(&register).map(drop)
    }

    fn capsule(&mut self, config: &NodeConfig, key: &NodeKey) -> Result<Option<Capsule>, ClientError> {
        client(config, key)?.capsule()
    }

    fn say(&mut self, text: &str) {
        tracing::warn!("{text}");
        let config = self.read(CONFIG).ok().flatten();
        let config = config.and_then(|text| serde_json::from_slice::<NodeConfig>(&text).ok());
        let (name, controller) = config
            .map(|config| (config.name, config.controller))
            .unwrap_or_default();
        let sign = Sign {
            name,
            address: String::new(),
            controller,
            state: text.to_owned(),
        };
        self.console.show(&sign, &Shell);
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

fn root() -> &'static Path {
    Path::new("/")
}

fn client(config: &NodeConfig, key: &NodeKey) -> Result<Client, ClientError> {
    let pin = config
        .pin
        .parse()
        .map_err(|error| ClientError::SetUp(format!("{error}")))?;
    Client::new(&config.controller, &pin, key)
}
