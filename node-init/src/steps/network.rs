// SPDX-License-Identifier: Apache-2.0
//! An address, and behind it a controller that holds the pinned key.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use provisioner_api::Nic;

use super::modules::Watch;
use crate::client::{Backoff, Client, ClientError};
use crate::inventory::{self, Senses};
use crate::key::NodeKey;
use crate::network::cards::{Dhcp, candidates};
use crate::network::cmdline::CommandLine;
use crate::network::lease::{self, Lease};
use crate::network::unusable::{Unusable, kernel_log};
use crate::screen::Screen;

/// How long the card that booted is given: spanning tree keeps a port silent for up to 50 seconds, and the DHCP
/// server's own start may take the rest.
const PATIENCE_BOOTED: Duration = Duration::from_secs(90);

/// How long any other card is given: spanning tree again, but there are others to try.
const PATIENCE_OTHER: Duration = Duration::from_mins(1);

/// How long an address is kept on which no controller answers, before another card is tried. A controller that is
/// restarted is back by then.
const PATIENCE_CONTROLLER: Duration = Duration::from_mins(1);

/// How long a card without a link is given while another one has a link: negotiating one takes some five seconds.
const PATIENCE_NO_LINK: Duration = Duration::from_secs(15);

/// Between two looks at what udhcpc has found.
const LOOK: Duration = Duration::from_millis(200);

/// A link comes up within this time after its card; longer only where there is no cable.
const LINK: Duration = Duration::from_secs(6);

/// Where udhcpc's script is linked.
const SCRIPT_FOLDER: &str = "/run/node-init";

/// The network that was found. It lasts as long as this value.
pub struct Joined {
    /// The controller.
    pub client: Client,
    /// Address of the card, lower case with colons.
    pub mac: String,
    /// What was leased.
    pub lease: Lease,
    /// Renews the lease.
    pub dhcp: Dhcp,
}

/// Asks card after card until the controller answers on one; for ever, because there is nothing else to do.
pub fn join(root: &Path, line: &CommandLine, key: &NodeKey, watch: &Watch, screen: &Screen) -> Result<Joined> {
    let controller = line
        .controller
        .as_deref()
        .context("the boot script named no controller (gleaner.controller=)")?;
    let pin = line
        .pin
        .as_ref()
        .context("the boot script named no key of the controller (gleaner.pin=)")?;
    screen.stage("Network", "bringing the network up");
    let mut widen = false;
    loop {
        let Cards { cards, unusable } = bring_up(root, line, watch);
        for card in &unusable {
            screen.log(&card.to_string());
        }
        let order = candidates(&cards, widen);
        if order.is_empty() {
            screen.alarm("No network", &no_card(&cards, &unusable));
            thread::sleep(LINK);
        }
        for card in order {
            let client = Client::new(controller, pin, key)?;
            if let Some(joined) = try_card(root, card, client, screen)? {
                return Ok(joined);
            }
        }
        // The card that booted has failed: the cable may be in another one by now.
        widen = true;
    }
}

/// The cards of a machine, once they are up.
struct Cards {
    /// Those that are.
    cards: Vec<Nic>,
    /// Those that the kernel could not bring up.
    unusable: Vec<Unusable>,
}

/// Every card up, and time for links; the cards as they are then.
fn bring_up(root: &Path, line: &CommandLine, watch: &Watch) -> Cards {
    let senses = Senses {
        booted: line.booted.clone(),
        ..Senses::default()
    };
    let mut unusable = Vec::new();
    for card in inventory::nics(root, &senses) {
        if let Err(error) = lease::bring_up(&card.name) {
            unusable.push(Unusable::new(&card, &error, &kernel_log::read(root)));
        }
        watch.ears.add_card(&card.name, root);
    }
    let is_usable = |card: &Nic| unusable.iter().all(|other| other.name() != card.name);
    let asked = Instant::now();
    loop {
        let mut cards = inventory::nics(root, &senses);
        cards.retain(is_usable);
        let ready = if cards.iter().any(|c| c.booted) {
            cards.iter().any(|c| c.booted && c.link)
        } else {
            cards.iter().any(|c| c.link)
        };
        if ready || asked.elapsed() > LINK {
            return Cards { cards, unusable };
        }
        thread::sleep(LOOK);
    }
}

fn no_card(cards: &[Nic], unusable: &[Unusable]) -> String {
    if cards.is_empty() && unusable.is_empty() {
        return "no network card was found that this kernel has a driver for".into();
    }
    let mut causes: Vec<String> = unusable.iter().map(ToString::to_string).collect();
    let names: Vec<String> = cards
        .iter()
        .map(|card| format!("{} ({})", card.name, card.mac))
        .collect();
    if !names.is_empty() {
        causes.push(format!("no cable with a link is plugged into {}", names.join(" or ")));
    }
    causes.join("; ")
}

/// Whether a card other than this one has a link.
fn another_has_link(root: &Path, card: &Nic) -> bool {
    let cards = inventory::nics(root, &Senses::default());
    cards.iter().any(|other| other.name != card.name && other.link)
}

fn try_card(root: &Path, card: &Nic, client: Client, screen: &Screen) -> Result<Option<Joined>> {
    let dhcp = Dhcp::start(&card.name, Path::new(SCRIPT_FOLDER))?;
    let patience = if card.booted { PATIENCE_BOOTED } else { PATIENCE_OTHER };
    let Some(lease) = await_lease(root, card, patience, screen) else {
        return Ok(None);
    };
    screen.update(|view| {
        view.facts = vec![format!(
            "{} on {} ({}), controller {}",
            lease.address,
            card.name,
            card.mac,
            client.controller()
        )];
    });
    if await_controller(&client, &lease, screen) {
        return Ok(Some(Joined {
            client,
            mac: card.mac.clone(),
            lease,
            dhcp,
        }));
    }
    drop(dhcp);
    lease::release(&card.name)?;
    Ok(None)
}

fn await_lease(root: &Path, card: &Nic, patience: Duration, screen: &Screen) -> Option<Lease> {
    let asked = Instant::now();
    let carrier = root.join("sys/class/net").join(&card.name).join("carrier");
    while asked.elapsed() < patience {
        let has_link = inventory::sysfs::flag(&carrier);
        if !has_link && asked.elapsed() > PATIENCE_NO_LINK && another_has_link(root, card) {
            return None;
        }
        if let Some(lease) = lease::of(&card.name) {
            screen.log(&format!("leased {}/{} on {}", lease.address, lease.prefix, card.name));
            return Some(lease);
        }
        let seconds = asked.elapsed().as_secs() / 5 * 5;
        if !has_link {
            screen.say(&format!(
                "no link on {} ({}): is its cable plugged in at both ends?",
                card.name, card.mac
            ));
        } else if seconds >= 10 {
            screen.say(&format!(
                "waiting for an address on {} ({}) for {seconds} s; a switch port with spanning tree needs up to 50 s \
                 (make it an edge port)",
                card.name, card.mac
            ));
        } else {
            screen.say(&format!("asking for an address on {} ({})", card.name, card.mac));
        }
        thread::sleep(LOOK);
    }
    None
}

fn await_controller(client: &Client, lease: &Lease, screen: &Screen) -> bool {
    let (asked, mut backoff) = (Instant::now(), Backoff::default());
    while asked.elapsed() < PATIENCE_CONTROLLER {
        match client.time() {
            // A refusal is an answer, and it came from the holder of the pinned key.
            Ok(_) | Err(ClientError::Refused(_)) => return true,
            Err(error @ ClientError::WrongPin { .. }) => {
                screen.say(&format!("{error} (seen from {}); trying on", lease.address));
                return false;
            }
            Err(error) => screen.say(&format!("waiting for the controller: {error}")),
        }
        thread::sleep(backoff.pause());
    }
    false
}
