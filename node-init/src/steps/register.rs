// SPDX-License-Identifier: Apache-2.0
//! The machine introduces itself: what it is made of, and that it is here.

use std::path::Path;

use provisioner_api::{Inventory, Life, Register, Registered, Rtc};

use super::modules::Watch;
use crate::client::{Backoff, Client};
use crate::host::Host;
use crate::inventory::{self, Senses};
use crate::screen::Screen;
use crate::vouch;

/// What was found out on the way here.
pub struct Facts<'a> {
    /// Below which the machine shows itself.
    pub root: &'a Path,
    /// Address of the card that answers.
    pub booted: String,
    /// Address by which the firmware booted, as the boot script named it.
    pub firmware_mac: Option<String>,
    /// The battery-backed clock.
    pub rtc: Rtc,
    /// What goes on in the machine.
    pub watch: Watch,
    /// This boot.
    pub boot_id: String,
    /// The machine's disks, which may hold a key that vouches for this start.
    pub host: &'a dyn Host,
    /// SHA-256 of this start's key, hex.
    pub key: String,
}

/// Reads the inventory and registers, as often as it takes. Again whenever the machine has changed: registering
/// twice is the same as once.
pub fn introduce(facts: &Facts<'_>, client: &Client, screen: &Screen) -> Registered {
    screen.stage("Examining", "reading what this machine is made of");
    let senses = Senses {
        booted: Some(facts.booted.clone()),
        heard: facts.watch.ears.heard(),
        rtc: facts.rtc.clone(),
        ..Senses::default()
    };
    let mut inventory = inventory::read(facts.root, &senses);
    let of_a_card = |mac: &String| inventory.nics.iter().any(|card| card.mac == *mac);
    inventory.firmware_mac = facts.firmware_mac.clone().filter(|mac| !of_a_card(mac));
    let model = describe(&inventory);
    screen.update(|view| {
        view.facts.truncate(1);
        view.facts.push(model);
    });
    let register = Register {
        boot_id: facts.boot_id.clone(),
        life: Life::Ram,
        version: env!("CARGO_PKG_VERSION").into(),
        inventory,
        join: None,
        vouches: false,
    };
    let mut backoff = Backoff::default();
    let mut looked = false;
    loop {
        match client.register(&register) {
            Ok(registered) if registered.vouch && !looked => {
                looked = true;
                if vouch::by_disk(facts.host, client, &facts.key, screen) {
                    // Now the controller knows that this is the machine.
                    continue;
                }
                return known(registered, screen);
            }
            Ok(registered) => return known(registered, screen),
            Err(error) if error.is_temporary() => screen.say(&error.to_string()),
            // Somebody has to change something there; until then the answer stays the same.
            Err(error) => screen.alarm("Refused", &error.to_string()),
        }
        std::thread::sleep(backoff.pause());
    }
}

/// Shows who this machine is.
fn known(registered: Registered, screen: &Screen) -> Registered {
    screen.log(&format!("registered as {} ({})", registered.name, registered.node_id));
    screen.update(|view| {
        view.name.clone_from(&registered.name);
        view.alarm = false;
    });
    registered
}

/// "Dell Inc. `OptiPlex` 7010, 4 threads, 8.1 GB RAM, 2 disks".
fn describe(inventory: &Inventory) -> String {
    let mut words = vec![inventory::model(inventory)];
    words.push(format!("{} threads", inventory.cpu.threads));
    words.push(format!(
        "{}.{} GB RAM",
        inventory.memory / 1_000_000_000,
        inventory.memory / 100_000_000 % 10
    ));
    words.extend(inventory.disks.iter().map(|disk| {
        let model = disk.model.as_deref().unwrap_or("disk");
        format!("{} {model} {} GB", disk.name, (disk.size + 500_000_000) / 1_000_000_000)
    }));
    words.retain(|word| !word.is_empty());
    words.join(", ")
}
