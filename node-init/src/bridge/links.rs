// SPDX-License-Identifier: Apache-2.0
//! What a change of the network asks of the running system.

use std::time::Duration;

use crate::programs::{Programs, Shell};

use super::card;

/// The running system, as far as a change needs it.
pub trait Links {
    /// Makes somebody who does not depend on this process undo the change after so many seconds.
    fn arm(&self, seconds: u32) -> anyhow::Result<()>;
    /// The change was confirmed or undone.
    fn disarm(&self);
    /// Makes the running network what the files say, for the card with this hardware address.
    fn apply(&self, mac: &str) -> anyhow::Result<()>;
    /// Makes the running network what the files say, from scratch: what a start of the machine would make of them.
    fn restart(&self) -> anyhow::Result<()>;
    /// Takes a bridge away that no file asks for any more.
    fn remove(&self, bridge: &str);
}

/// Before systemd-networkd has started there is nobody to tell.
pub(super) struct Nobody;

impl Links for Nobody {
    fn arm(&self, _: u32) -> anyhow::Result<()> {
        Ok(())
    }
    fn disarm(&self) {}
    fn apply(&self, _: &str) -> anyhow::Result<()> {
        Ok(())
    }
    fn restart(&self) -> anyhow::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) {}
}

/// Name of the transient timer that undoes the change, and of the service that it starts.
const DEADLINE: &str = "node-init-network-deadline";

/// networkctl asks networkd over D-Bus and comes back when it has begun.
const PATIENCE: Duration = Duration::from_secs(20);

/// systemd and systemd-networkd.
#[derive(Default)]
pub struct Networkd {
    shell: Shell,
}

impl Networkd {
    /// The real ones.
    pub fn new() -> Self {
        Self::default()
    }

    fn try_to(&self, command: &[&str]) {
        if let Err(error) = self.shell.run(command, PATIENCE) {
            tracing::debug!(%error, "went on without");
        }
    }
}

impl Links for Networkd {
    fn arm(&self, seconds: u32) -> anyhow::Result<()> {
        // What is left of an earlier one would keep the name.
        self.disarm();
        let program = std::env::current_exe()?;
        let (unit, after) = (format!("--unit={DEADLINE}"), format!("--on-active={seconds}"));
        let program = program.to_string_lossy();
        let options = ["--quiet", "--collect", "--timer-property=AccuracySec=1s"];
        let command = [
            &["systemd-run", &unit, &after],
            &options[..],
            &[&program, "network-rollback"],
        ]
        .concat();
        self.shell.run(&command, PATIENCE)?;
        Ok(())
    }

    fn disarm(&self) {
        // The timer alone: the service may be what is running this.
        self.try_to(&["systemctl", "stop", &format!("{DEADLINE}.timer")]);
    }

    fn apply(&self, mac: &str) -> anyhow::Result<()> {
        self.shell.run(&["networkctl", "reload"], PATIENCE)?;
        if let Some(card) = card::by_mac("/sys".as_ref(), mac) {
            self.shell.run(&["networkctl", "reconfigure", &card], PATIENCE)?;
        }
        Ok(())
    }

    fn restart(&self) -> anyhow::Result<()> {
        // A reload would not do: systemd 257 then fails to take back a bridge that it has let go of ("br0: Failed to
        // create netdev: File exists") and leaves the machine without a network. Nobody waits for the end: it is
        // systemd's work from here on, whatever becomes of us.
        self.shell.run(
            &["systemctl", "--no-block", "restart", "systemd-networkd.service"],
            PATIENCE,
        )?;
        Ok(())
    }

    fn remove(&self, bridge: &str) {
        self.try_to(&["networkctl", "delete", bridge]);
    }
}
