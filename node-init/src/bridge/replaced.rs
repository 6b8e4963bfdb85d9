// SPDX-License-Identifier: Apache-2.0
//! A card that was replaced: the system on the disk waits for one that is not in the machine any more. Texts in, texts out.
//!
//! The file of the card is the only one that has to change: a bridge over the old card stays without a port until it
//! is ordered anew, over the card by which the controller was heard.

use provisioner_api::Nic;

use crate::network::cards::is_card_address;

/// How systemd.network(5) names a card by the address that is burnt into it; several addresses name several cards.
const PERMANENT: &str = "PermanentMACAddress=";

/// A card's file that has to name other cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The file as it has to be.
    pub text: String,
    /// The addresses that it names now.
    pub before: Vec<String>,
    /// The addresses that it names then.
    pub after: Vec<String>,
}

/// The file for the cards that are in the machine, where it names none of them. A file that somebody wrote otherwise is
/// theirs and stays as it is.
pub fn for_present_cards(card_network: &str, cards: &[Nic]) -> Option<Replaced> {
    let before = named(card_network);
    let present: Vec<String> = cards
        .iter()
        .map(|card| card.mac.to_lowercase())
        .filter(|mac| is_card_address(mac))
        .collect();
    if before.is_empty() || present.is_empty() || before.iter().any(|mac| present.contains(mac)) {
        return None;
    }
    Some(naming(card_network, before, present))
}

/// The file for the one card by which the controller was heard, where it names more than that.
pub fn for_the_card(card_network: &str, mac: &str) -> Option<Replaced> {
    let before = named(card_network);
    let mac = mac.to_lowercase();
    (before.len() > 1 && before.contains(&mac)).then(|| naming(card_network, before, vec![mac]))
}

/// The addresses of the cards that the file is for, lower case.
pub fn named(card_network: &str) -> Vec<String> {
    let values = card_network
        .lines()
        .filter_map(|line| line.trim().strip_prefix(PERMANENT));
    values.flat_map(str::split_whitespace).map(str::to_lowercase).collect()
}

fn naming(card_network: &str, before: Vec<String>, after: Vec<String>) -> Replaced {
    let mut text = String::new();
    let mut is_named = false;
    for line in card_network.lines() {
        if !line.trim().starts_with(PERMANENT) {
            text.push_str(line);
            text.push('\n');
        } else if !std::mem::replace(&mut is_named, true) {
            text.push_str(PERMANENT);
            text.push_str(&after.join(" "));
            text.push('\n');
        }
    }
    Replaced { text, before, after }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = "[Match]\nPermanentMACAddress=52:54:00:77:00:01\n\n[Network]\nDHCP=ipv4\n";

    fn cards(macs: &[&str]) -> Vec<Nic> {
        let card = |mac: &&str| Nic {
            mac: (*mac).into(),
            ..Nic::default()
        };
        macs.iter().map(card).collect()
    }

    #[test]
    fn a_system_whose_card_was_replaced_takes_the_cards_that_are_there() {
        let replaced = for_present_cards(FILE, &cards(&["52:54:00:77:00:02", "52:54:00:77:00:03"])).unwrap();
        assert_eq!(replaced.before, ["52:54:00:77:00:01"]);
        assert_eq!(
            replaced.text,
            "[Match]\nPermanentMACAddress=52:54:00:77:00:02 52:54:00:77:00:03\n\n[Network]\nDHCP=ipv4\n"
        );
        let settled = for_the_card(&replaced.text, "52:54:00:77:00:03").unwrap();
        assert_eq!(settled.text, FILE.replace("00:01", "00:03"));
        assert_eq!(for_the_card(&settled.text, "52:54:00:77:00:03"), None);
    }

    #[test]
    fn a_card_that_is_there_keeps_its_file_and_so_does_a_file_of_somebody_elses() {
        assert_eq!(
            for_present_cards(FILE, &cards(&["52:54:00:77:00:02", "52:54:00:77:00:01"])),
            None
        );
        assert_eq!(
            for_present_cards("[Match]\nName=eth0\n", &cards(&["52:54:00:77:00:02"])),
            None
        );
        assert_eq!(for_present_cards(FILE, &[]), None, "a card that has not appeared yet");
        assert_eq!(
            for_present_cards(FILE, &cards(&["00:00:00:00:00:00", "01:00:5e:00:00:01"])),
            None
        );
    }
}
