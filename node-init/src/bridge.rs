// SPDX-License-Identifier: Apache-2.0
//! The bridge for guests on the machine's single card, changed so that no mistake locks the machine out.
//!
//! A change is unconfirmed until the controller was heard through it. What an unconfirmed change has to undo lies
//! on the disk before the first file of the network is touched, and three hands can undo it: the daemon when the
//! time is up; a timer of systemd, armed first, when the daemon hangs or is gone; and a unit that runs before
//! systemd-networkd, when the power went. All three call [`Change::roll_back`].

pub mod card;
mod change;
mod files;
mod links;
pub mod replaced;
mod store;

use std::path::Path;

use anyhow::Context;
use provisioner_api::BridgeOrder;

pub use change::{Begun, Change, Failure, History};
pub use files::{BadBridge, CARD_NETWORK, Plan};
pub use links::{Links, Networkd};
pub use store::{Disk, Store};

/// `node-init network-rollback [--boot]`: what the timer and the unit before networkd run. At boot nothing is
/// running yet that would have to be told.
pub fn network_rollback(at_boot: bool) -> anyhow::Result<()> {
    let disk = Disk::new(Path::new("/"));
    let networkd = Networkd::new();
    let nobody = links::Nobody;
    let links: &dyn Links = if at_boot { &nobody } else { &networkd };
    let why = if at_boot {
        "the machine went down before the controller was heard through the bridge"
    } else {
        "the controller was not heard through the bridge in time"
    };
    let undone = Change::new(&disk, links)
        .roll_back(why)
        .context("undoing the change of the network")?;
    tracing::warn!(undone, at_boot, "rolled the network back");
    Ok(())
}

/// The plan that an order means for this card.
pub fn plan(order: &BridgeOrder, card: &card::Card) -> Result<Plan, BadBridge> {
    Plan::new(&order.name, &card.mac)
}
