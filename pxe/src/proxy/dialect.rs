// SPDX-License-Identifier: Apache-2.0
//! How to say to firmware what to boot, and which firmware understood what.

use std::collections::HashMap;

use crate::Mac;
use crate::client::{Client, Firmware, Speaker};

/// How a client without an address from us is told what to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// All of it in the offer, and option 43 says that this is all: what BIOS ROMs want.
    InOffer,
    /// The offer only says that we are here. Without option 43 the client asks again, at port 4011 (Microsoft's boot
    /// information negotiation layer): what UEFI wants. EDK2 before 2019 drops every offer with option 43.
    AskAgain,
    /// Next server and boot file and nothing else: for firmware that reads PXE's options wrongly.
    Plain,
}

/// The order for BIOS.
const BIOS: [Dialect; 3] = [Dialect::InOffer, Dialect::Plain, Dialect::AskAgain];
/// The order for UEFI.
const UEFI: [Dialect; 3] = [Dialect::AskAgain, Dialect::Plain, Dialect::InOffer];
/// Seconds after the first offer from which on a DISCOVER belongs to a new start: PXE 2.1, 2.2.1 lets firmware ask
/// after 4, 8, 16 and 32 s, the last time 28 s after the first.
const NEW_START: u64 = 40;
/// Seconds after which a start is no longer that of a machine that failed and was tried again.
const FORGET: u64 = 600;
/// Cards that are followed at a time. Beyond, all are forgotten: they begin with the order's first again.
const CARDS: usize = 4096;
/// Kinds of firmware that are remembered, likewise.
const KINDS: usize = 1024;

/// What is known of who understands which dialect. Memory is bounded, whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Dialects {
    told: HashMap<Mac, Told>,
    understood: HashMap<Class, Dialect>,
}

/// A card that was told something and has not shown yet that it understood.
#[derive(Clone, Copy, Debug)]
struct Told {
    dialect: Dialect,
    since: u64,
    /// It has chosen among all offers, ours included.
    chose: bool,
}

/// A kind of firmware, as far as a packet shows: the maker of a card mostly is the maker of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Class {
    firmware: Option<Firmware>,
    maker: [u8; 3],
}

impl Dialects {
    /// How to speak to a client that asks; `now` in seconds from any fixed moment.
    pub fn choose(&mut self, client: &Client, now: u64) -> Dialect {
        if client.speaker != Speaker::PxeRom {
            // iPXE has one dialect, and HTTP Boot none.
            return Dialect::InOffer;
        }
        let order = order(client.firmware);
        let first = self.understood.get(&Class::of(client)).copied().unwrap_or(order[0]);
        let told = self.told.get(&client.mac).copied();
        let again = told.filter(|told| now.saturating_sub(told.since) < FORGET);
        let told = match again {
            // The next dialect, for what it was told it did not understand.
            Some(told) if told.chose || now.saturating_sub(told.since) >= NEW_START => {
                Told::now(after(order, told.dialect), now)
            }
            Some(told) => told,
            None => Told::now(first, now),
        };
        if self.told.len() >= CARDS {
            self.told.clear();
        }
        self.told.insert(client.mac, told);
        told.dialect
    }

    /// A client took another server's address: it has all offers, and goes on with what it understood of ours.
    pub fn chose(&mut self, mac: Mac) {
        if let Some(told) = self.told.get_mut(&mac) {
            told.chose = true;
        }
    }

    /// A client did what it was told.
    pub fn understood(&mut self, client: &Client) {
        let Some(told) = self.told.remove(&client.mac) else {
            return;
        };
        if self.understood.len() >= KINDS {
            self.understood.clear();
        }
        self.understood.insert(Class::of(client), told.dialect);
    }
}

impl Told {
    fn now(dialect: Dialect, since: u64) -> Self {
        Self {
            dialect,
            since,
            chose: false,
        }
    }
}

impl Class {
    fn of(client: &Client) -> Self {
        let [a, b, c, ..] = client.mac.0;
        Self {
            firmware: client.firmware,
            maker: [a, b, c],
        }
    }
}

fn order(firmware: Option<Firmware>) -> [Dialect; 3] {
    match firmware {
        None | Some(Firmware::Bios) => BIOS,
        Some(_) => UEFI,
    }
}

fn after(order: [Dialect; 3], dialect: Dialect) -> Dialect {
    let at = order.iter().position(|other| *other == dialect).unwrap_or(0);
    order[(at + 1) % order.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(firmware: Firmware, mac: u8) -> Client {
        Client {
            mac: Mac([0x52, 0x54, 0, 0, 0, mac]),
            firmware: Some(firmware),
            speaker: Speaker::PxeRom,
            uuid: None,
            quirk: None,
        }
    }

    #[test]
    fn a_start_hears_one_dialect_however_often_it_asks() {
        let mut dialects = Dialects::default();
        let pc = client(Firmware::UefiX64, 1);
        for now in [0, 4, 12, 28] {
            assert_eq!(dialects.choose(&pc, now), Dialect::AskAgain);
        }
    }

    #[test]
    fn who_comes_back_without_having_understood_hears_the_next_dialect_and_all_in_turn() {
        let mut dialects = Dialects::default();
        let pc = client(Firmware::Bios, 1);
        let mut heard = Vec::new();
        for start in 0..4 {
            heard.push(dialects.choose(&pc, start * 20));
            dialects.chose(pc.mac);
        }
        assert_eq!(
            heard,
            [Dialect::InOffer, Dialect::Plain, Dialect::AskAgain, Dialect::InOffer]
        );
        // Firmware that saw nothing in our offer takes nobody's address and gives up after a minute.
        let pc = client(Firmware::UefiX64, 2);
        let heard: Vec<_> = [0, 28, 75, 110, 150].map(|now| dialects.choose(&pc, now)).into();
        assert_eq!(
            heard,
            [
                Dialect::AskAgain,
                Dialect::AskAgain,
                Dialect::Plain,
                Dialect::Plain,
                Dialect::InOffer
            ]
        );
    }

    #[test]
    fn what_a_card_understood_is_what_cards_of_its_maker_hear_first() {
        let mut dialects = Dialects::default();
        let (first, second) = (client(Firmware::UefiX64, 1), client(Firmware::UefiX64, 2));
        dialects.choose(&first, 0);
        dialects.chose(first.mac);
        assert_eq!(dialects.choose(&first, 20), Dialect::Plain);
        dialects.understood(&first);
        assert_eq!(dialects.choose(&second, 30), Dialect::Plain);
        let other = Client {
            mac: Mac([0, 1, 2, 3, 4, 5]),
            ..second
        };
        assert_eq!(dialects.choose(&other, 30), Dialect::AskAgain);
        assert_eq!(dialects.choose(&client(Firmware::Bios, 3), 30), Dialect::InOffer);
    }

    #[test]
    fn a_machine_that_is_switched_on_the_next_day_has_not_failed() {
        let mut dialects = Dialects::default();
        let pc = client(Firmware::Bios, 1);
        dialects.choose(&pc, 0);
        dialects.chose(pc.mac);
        assert_eq!(dialects.choose(&pc, 86_400), Dialect::InOffer);
    }

    #[test]
    fn a_million_cards_take_no_more_memory_than_a_few_thousand() {
        let mut dialects = Dialects::default();
        for n in 0..1_000_000_u32 {
            let [a, b, c, d] = n.to_be_bytes();
            let pc = Client {
                mac: Mac([2, c, d, a, b, 1]),
                ..client(Firmware::Bios, 0)
            };
            dialects.choose(&pc, 0);
            dialects.understood(&pc);
            dialects.choose(&pc, 1);
        }
        assert!(dialects.told.len() <= CARDS && dialects.understood.len() <= KINDS);
    }
}
