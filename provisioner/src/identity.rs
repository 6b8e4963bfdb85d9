// SPDX-License-Identifier: Apache-2.0
//! Which known machine this is: a score over several facts.
//!
//! No single label of a cheap PC can be trusted: boards share UUIDs, USB cards move between machines, serials
//! read "To Be Filled By O.E.M.". So facts are weighed, agreement and contradiction alike, placeholders are
//! dropped first, and a tie is no answer. The weights are chosen so that these hold (each is a test):
//! one card that is soldered on suffices; a UUID, a serial number or a disk alone never does, two of them do;
//! a card or a disk that moved to a machine with labels of its own does not take the identity along; what several nodes
//! show weighs nothing, and never less than nothing; what a machine claims that nobody approved weakens nobody.

use std::collections::BTreeSet;

use provisioner_api::{Inventory, plain_serial};

mod placeholder;
pub use placeholder::{is_placeholder, is_placeholder_mac, same_uuid};

/// What two machines must reach to be one.
const ENOUGH: i32 = 60;
/// The best must be this much ahead of the second best, or it is a tie.
const AHEAD: i32 = 10;
/// From here on a machine that is not one with a node may still be it: a person decides, and no rule.
const DOUBTFUL: i32 = 25;
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
        // It belongs to a dock or an adapter, and moves like a USB card.
        let firmware_mac = inventory.firmware_mac.as_ref().map(|mac| mac.to_lowercase());
        let firmware_mac = firmware_mac.filter(|mac| !is_placeholder_mac(mac));
        let fixed = inventory.disks.iter().filter(|disk| crate::disks::is_built_in(disk));
        let smbios = &inventory.smbios;
        Self {
            macs: cards(false),
            usb_macs: cards(true).into_iter().chain(firmware_mac).collect(),
            uuid: label(&smbios.system_uuid),
            serials: [
                label(&smbios.system_serial),
                label(&smbios.board_serial),
                label(&smbios.chassis_serial),
            ],
            disks: fixed
                .filter_map(|disk| label(&disk.wwn).or_else(|| Some(plain_serial(&label(&disk.serial)?))))
                .filter(|name| !name.is_empty())
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
        let built_in = match shared.common(&self.macs, &other.macs) {
            Common::Telling(count) => first_and_more(count, CARD, ANOTHER_CARD),
            Common::Nothing => 0,
            Common::Different => OTHER_CARDS,
        };
        let usb = self.usb_macs.intersection(&other.usb_macs).count();
        built_in + first_and_more(usb, USB_CARD, 0)
    }

    fn uuids(&self, other: &Self, shared: &Shared) -> i32 {
        match (&self.uuid, &other.uuid) {
            (Some(a), Some(b)) if shared.has(a) || shared.has(b) => 0,
            (Some(a), Some(b)) if same_uuid(a, b) => UUID,
            (Some(_), Some(_)) => OTHER_UUID,
            _ => 0,
        }
    }

    fn all_serials(&self, other: &Self, shared: &Shared) -> i32 {
        let pairs = self.serials.iter().zip(&other.serials);
        let both = pairs.filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
        let telling = both.filter(|(a, b)| !shared.has(a) && !shared.has(b));
        let (equal, different): (Vec<_>, Vec<_>) = telling.partition(|(a, b)| a == b);
        match (equal.len(), different.len()) {
            (0, 0) => 0,
            (0, _) => OTHER_SERIAL,
            (equal, _) => first_and_more(equal, SERIAL, ANOTHER_SERIAL),
        }
    }

    fn all_disks(&self, other: &Self, shared: &Shared) -> i32 {
        match shared.common(&self.disks, &other.disks) {
            Common::Telling(count) => first_and_more(count, DISK, ANOTHER_DISK),
            Common::Nothing => 0,
            Common::Different => OTHER_DISKS,
        }
    }
}

fn first_and_more(count: usize, first: i32, more: i32) -> i32 {
    // A machine has a handful of cards and disks; a liar's thousands must not overflow.
    let count = i32::try_from(count.min(16)).unwrap_or(16);
    if count == 0 { 0 } else { first + (count - 1) * more }
}

/// What two machines have in common of one kind of part.
enum Common {
    /// So many that tell them from others.
    Telling(usize),
    /// Nothing that says anything: one of them has none, or all that they have in common is shared.
    Nothing,
    /// They have different ones.
    Different,
}

/// Values that more than one node shows: they tell nothing.
#[derive(Default)]
struct Shared(BTreeSet<String>);

impl Shared {
    fn among<'a>(nodes: impl Iterator<Item = &'a Facts>) -> Self {
        let mut seen = BTreeSet::new();
        let mut shared = BTreeSet::new();
        for facts in nodes {
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

    fn has(&self, value: &str) -> bool {
        self.0.contains(value)
    }

    fn common(&self, ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Common {
        let telling = |parts: &BTreeSet<String>| parts.iter().any(|part| !self.has(part));
        let both = || ours.intersection(theirs);
        match both().filter(|part| !self.has(part)).count() {
            0 if both().next().is_none() && telling(ours) && telling(theirs) => Common::Different,
            0 => Common::Nothing,
            count => Common::Telling(count),
        }
    }
}

/// How much a known machine's facts count for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody or a rule has approved it: what two of these show is shared.
    Approved,
    /// It was approved once. Its parts may be in other machines now, which weakens nobody.
    Retired,
    /// Nobody has approved it, and it may claim anything.
    Unapproved,
}

/// A machine that is known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it shows.
    pub facts: &'a Facts,
    /// How much that counts for others.
    pub standing: Standing,
}

/// Which known machine a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised<'a> {
    /// This one.
    As(&'a str),
    /// None without doubt, but it has much in common with this approved one.
    Like(&'a str),
    /// None.
    New,
}

/// The one known machine that `new` is, if any. Approved ones come first: what others claim takes nothing from them.
pub fn recognise<'a>(new: &Facts, known: impl Iterator<Item = Known<'a>>) -> Recognised<'a> {
    // Nearly all of a thousand machines have nothing in common with this one, and then nothing needs to be weighed.
    let (approved, claiming): (Vec<_>, Vec<_>) = known
        .filter(|known| known.facts.overlaps(new))
        .partition(|known| known.standing != Standing::Unapproved);
    let nodes = approved.iter().filter(|known| known.standing == Standing::Approved);
    let shared = Shared::among(nodes.map(|known| known.facts));
    match best(new, &approved, &shared) {
        Best { is: Some(id), .. } => Recognised::As(id),
        Best { like: Some(id), .. } => Recognised::Like(id),
        // Among those it shares with nobody: whatever they claim makes no other one less recognisable.
        _ => best(new, &claiming, &Shared::default())
            .is
            .map_or(Recognised::New, Recognised::As),
    }
}

/// The machines that come closest.
struct Best<'a> {
    /// The one that it is, without doubt.
    is: Option<&'a str>,
    /// The one that it may be.
    like: Option<&'a str>,
}

fn best<'a>(new: &Facts, among: &[Known<'a>], shared: &Shared) -> Best<'a> {
    let score = |known: &Known<'a>| (new.score(known.facts, shared), known.id);
    let mut scores: Vec<(i32, &str)> = among.iter().map(score).collect();
    scores.retain(|(score, _)| *score >= DOUBTFUL);
    scores.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let like = scores.first().map(|(_, id)| *id);
    let ahead = match scores.as_slice() {
        [(best, _)] => *best >= ENOUGH,
        [(best, _), (second, _), ..] => *best >= ENOUGH && (*second < ENOUGH || best - second >= AHEAD),
        [] => false,
    };
    Best {
        is: like.filter(|_| ahead),
        like,
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
