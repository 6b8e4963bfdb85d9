// SPDX-License-Identifier: Apache-2.0
//! The machine got another network card, and the system on its disk waits for the old one: it takes the new one, and the
//! controller's list of events says so.

use std::path::Path;
use std::time::Instant;

use provisioner_api::Event;

use crate::bridge::replaced::{self, Replaced};
use crate::bridge::{CARD_NETWORK, Disk, Links as _, Networkd, Store as _, card};
use crate::inventory::{self, Senses};

use super::{NO_CARD, Node};

impl Node {
    /// Looks, while the controller is silent, whether the card is there that the system waits for.
    pub(super) fn look_for_card(&mut self) {
        if Instant::now() < self.due.card {
            return;
        }
        self.due.card = Instant::now() + NO_CARD;
        let root = Path::new("/");
        let cards = inventory::nics(root, &Senses::default());
        let found = change_card_file(|text| replaced::for_present_cards(text, &cards));
        let Some(found) = found else { return };
        let line = format!(
            "its network card {} is not in the machine any more: its network was changed to {}",
            found.before.join(", "),
            found.after.join(", ")
        );
        self.tell(Event::Note { text: line });
        if let Err(error) = Networkd::new().restart() {
            tracing::error!(error = format!("{error:#}"), "cannot start the network anew");
        }
    }

    /// Once the controller was heard, the card is known by which: from here on it alone is the node's.
    pub(super) fn settle_card(&mut self) {
        let way = card::way_to(&self.identity.controller);
        let card = way.and_then(|way| card::under(Path::new("/sys"), &way.interface));
        if let Ok(card) = card {
            // Taken at the next start: the network that works now is left alone.
            change_card_file(|text| replaced::for_the_card(text, &card.mac));
        }
    }
}

fn change_card_file(change: impl FnOnce(&str) -> Option<Replaced>) -> Option<Replaced> {
    let disk = Disk::new(Path::new("/"));
    let changed = disk.lock().and_then(|_guard| {
        let text = disk.read(CARD_NETWORK)?.unwrap_or_default();
        let Some(found) = change(&text) else { return Ok(None) };
        disk.write(CARD_NETWORK, &found.text)?;
        Ok(Some(found))
    });
    match changed {
        Ok(Some(found)) => {
            tracing::warn!(before = ?found.before, after = ?found.after, "changed the card of the network");
            Some(found)
        }
        Ok(None) => None,
        Err(error) => {
            tracing::error!(%error, "cannot change the card of the network");
            None
        }
    }
}
