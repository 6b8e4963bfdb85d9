// SPDX-License-Identifier: Apache-2.0
//! Which known machine this is: a score over several facts.
//!
//! No single label of a cheap PC can be trusted: boards share UUIDs, USB cards move between machines, serials
//! read "To Be Filled By O.E.M.". So facts are weighed, agreement and contradiction alike, placeholders are
//! dropped first, and a tie is no answer. The weights are chosen so that these hold (each is a test):
//! one card that is soldered on suffices; a UUID, a serial number or a disk alone never does, two of them do;
//! a card or a disk that moved to a machine with labels of its own does not take the identity along.

use std::collections::BTreeSet;

use provisioner_api::Inventory;

mod placeholder;
pub use placeholder::{is_placeholder, is_placeholder_mac, same_uuid};

/// What two machines must reach to be one.
const ENOUGH: i32 = 60;
/// The best must be this much ahead of the second best, or it is a tie.
const AHEAD: i32 = 10;
/// A card that does not move: unique by the makers' numbering, and with the board in nearly all PCs.
const CARD: i32 = 100;
/// Each further card.
const ANOTHER_CARD: i32 = 20;
/// A USB card: it says which dongle the technician had at hand.
const USB_CARD: i32 = 5;
/// SMBIOS's UUID: shared by whole series of cheap boards.
const UUID: i32 = 40;
/// One of the serial numbers of SMBIOS; unlisted placeholders are common.
const SERIAL: i32 = 40;
/// Each further serial number: they often are copies of one another.
const ANOTHER_SERIAL: i32 = 10;
/// A disk: unique, but it moves.
const DISK: i32 = 50;
/// Each further disk.
const ANOTHER_DISK: i32 = 20;
/// Cards on both sides, and none in common.
const OTHER_CARDS: i32 = -15;
/// Two UUIDs, and they differ. Less than they weigh when equal: disabling a card changes the UUID of some boards.
const OTHER_UUID: i32 = -30;
/// Serial numbers of one kind on both sides, and they differ.
const OTHER_SERIAL: i32 = -30;
/// Disks on both sides, and none in common. Disks are replaced more often than anything else.
const OTHER_DISKS: i32 = -20;

/// What tells a machine from others, placeholders dropped, all lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Addresses of cards that are not USB.
    pub macs: BTreeSet<String>,
    /// Addresses of USB cards.
    pub usb_macs: BTreeSet<String>,
    /// SMBIOS's UUID.
    pub uuid: Option<String>,
    /// Serial numbers of system, board and chassis, in this order.
    pub serials: [Option<String>; 3],
    /// World-wide names, else serial numbers, of disks that are neither removable nor USB.
    pub disks: BTreeSet<String>,
}

impl Facts {
    /// The facts of an inventory.
    pub fn of(inventory: &Inventory) -> Self {
        let label = |label: &Option<String>| {
            let label = label.as_deref()?.trim().to_lowercase();
            (!is_placeholder(&label)).then_some(label)
        };
        let cards = |usb: bool| {
            let cards = inventory.nics.iter().filter(move |nic| nic.usb == usb);
            cards
                .map(|nic| nic.mac.to_lowercase())
                .filter(|mac| !is_placeholder_mac(mac))
                .collect()
        };
        let fixed = inventory.disks.iter().filter(|disk| crate::disks::is_built_in(disk));
        let smbios = &inventory.smbios;
        Self {
            macs: cards(false),
            usb_macs: cards(true),
            uuid: label(&smbios.system_uuid),
            serials: [
                label(&smbios.system_serial),
                label(&smbios.board_serial),
                label(&smbios.chassis_serial),
            ],
            disks: fixed
                .filter_map(|disk| label(&disk.wwn).or_else(|| label(&disk.serial)))
                .collect(),
        }
    }

    /// How much speaks for the two being one machine.
    fn score(&self, other: &Self, shared: &Shared) -> i32 {
        self.cards(other, shared)
            + self.uuids(other, shared)
            + self.all_serials(other, shared)
            + self.all_disks(other, shared)
    }

    fn cards(&self, other: &Self, shared: &Shared) -> i32 {
        let built_in = self
            .macs
            .intersection(&other.macs)
            .filter(|mac| !shared.0.contains(*mac))
            .count();
        let usb = self.usb_macs.intersection(&other.usb_macs).count();
        let strangers = !self.macs.is_empty() && !other.macs.is_empty() && self.macs.is_disjoint(&other.macs);
        let built_in = if strangers {
            OTHER_CARDS
        } else {
            first_and_more(built_in, CARD, ANOTHER_CARD)
        };
        built_in + first_and_more(usb, USB_CARD, 0)
    }

    fn uuids(&self, other: &Self, shared: &Shared) -> i32 {
        match (&self.uuid, &other.uuid) {
            (Some(a), Some(b)) if same_uuid(a, b) && shared.0.contains(b) => 0,
            (Some(a), Some(b)) if same_uuid(a, b) => UUID,
            (Some(_), Some(_)) => OTHER_UUID,
            _ => 0,
        }
    }

    fn all_serials(&self, other: &Self, shared: &Shared) -> i32 {
        let pairs = self.serials.iter().zip(&other.serials);
        let both = pairs.filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
        let (equal, different): (Vec<_>, Vec<_>) = both.partition(|(a, b)| a == b);
        let telling = equal.iter().filter(|(a, _)| !shared.0.contains(*a)).count();
        if telling > 0 {
            first_and_more(telling, SERIAL, ANOTHER_SERIAL)
        } else if different.is_empty() {
            0
        } else {
            OTHER_SERIAL
        }
    }

    fn all_disks(&self, other: &Self, shared: &Shared) -> i32 {
        if self.disks.is_empty() || other.disks.is_empty() {
            return 0;
        }
        let common = self
            .disks
            .intersection(&other.disks)
            .filter(|disk| !shared.0.contains(*disk))
            .count();
        if common == 0 {
            OTHER_DISKS
        } else {
            first_and_more(common, DISK, ANOTHER_DISK)
        }
    }
}

fn first_and_more(count: usize, first: i32, more: i32) -> i32 {
    // A machine has a handful of cards and disks; a liar's thousands must not overflow.
    let count = i32::try_from(count.min(16)).unwrap_or(16);
    if count == 0 { 0 } else { first + (count - 1) * more }
}

/// Values that more than one known machine claims: they tell nothing.
struct Shared(BTreeSet<String>);

impl Shared {
    fn among<'a>(known: impl Iterator<Item = &'a Facts>) -> Self {
        let mut seen = BTreeSet::new();
        let mut shared = BTreeSet::new();
        for facts in known {
            // The serials of one machine are often copies of each other: that is not sharing.
            let own: BTreeSet<&String> = facts
                .macs
                .iter()
                .chain(&facts.uuid)
                .chain(facts.serials.iter().flatten())
                .chain(&facts.disks)
                .collect();
            for value in own {
                if !seen.insert(value.clone()) {
                    shared.insert(value.clone());
                }
            }
        }
        Self(shared)
    }
}

/// The one known machine that `new` is, if any; `known` are ids and facts.
pub fn recognise<'a>(new: &Facts, known: impl Iterator<Item = (&'a str, &'a Facts)>) -> Option<&'a str> {
    // Nearly all of a thousand machines have nothing in common with this one, and then nothing needs to be weighed.
    let related: Vec<(&str, &Facts)> = known.filter(|(_, facts)| facts.overlaps(new)).collect();
    let shared = Shared::among(related.iter().map(|(_, facts)| *facts));
    let mut scores: Vec<(i32, &str)> = related
        .iter()
        .map(|(id, facts)| (new.score(facts, &shared), *id))
        .collect();
    scores.retain(|(score, _)| *score >= ENOUGH);
    scores.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    match scores.as_slice() {
        [(_, id)] => Some(id),
        [(best, id), (second, _), ..] if best - second >= AHEAD => Some(id),
        _ => None,
    }
}

impl Facts {
    /// Whether anything that weighs is the same; without that no score is ever enough.
    fn overlaps(&self, other: &Self) -> bool {
        let uuid = matches!((&self.uuid, &other.uuid), (Some(a), Some(b)) if same_uuid(a, b));
        uuid || !self.macs.is_disjoint(&other.macs)
            || !self.disks.is_disjoint(&other.disks)
            || self
                .serials
                .iter()
                .zip(&other.serials)
                .any(|(a, b)| a.is_some() && a == b)
    }
}

#[cfg(test)]
mod tests;
