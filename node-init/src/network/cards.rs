// SPDX-License-Identifier: Apache-2.0
//! Which card to ask on, and udhcpc on it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use provisioner_api::Nic;

use super::lease;

/// Cards in the order in which they are worth a try: the one that booted, then those with a link, USB last. With the
/// one that booted known, the others are tried only once it has failed (`widen`). Several cards may have the address that
/// booted (a laptop in a dock that passes its address through): then those of them without a link are not asked.
pub fn candidates(cards: &[Nic], widen: bool) -> Vec<&Nic> {
    let booted_known = cards.iter().any(|card| card.booted);
    let booted_has_link = cards.iter().any(|card| card.booted && card.link);
    let mut order: Vec<&Nic> = cards
        .iter()
        .filter(|card| match (card.booted, card.link) {
            (true, link) => link || !booted_has_link,
            (false, link) => link && (widen || !booted_known),
        })
        .collect();
    order.sort_by_key(|card| (!card.booted, card.usb, card.name.clone()));
    order
}

/// Whether a card can have this address: six bytes that are not all zero and not a group's (IEEE 802, bit 0 of the first).
pub fn is_card_address(mac: &str) -> bool {
    let bytes = mac.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let Ok(bytes) = bytes.collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    bytes.len() == 6 && bytes[0] & 1 == 0 && bytes.iter().any(|byte| *byte != 0)
}

/// A running udhcpc; it ends with this value.
pub struct Dhcp {
    card: String,
    script: PathBuf,
    child: Child,
}

impl Dhcp {
    /// Starts udhcpc on a card, for as long as this value lives. It asks for ever: a switch with spanning tree
    /// forwards nothing for the first 30 to 50 seconds.
    pub fn start(card: &str, script_folder: &Path) -> Result<Self> {
        let script = script_folder.join(lease::SCRIPT);
        if !script.exists() {
            std::fs::create_dir_all(script_folder).context("making the folder of udhcpc's script")?;
            symlink("/proc/1/exe", &script).context("linking udhcpc's script")?;
        }
        let child = spawn(card, &script)?;
        Ok(Self {
            card: card.to_owned(),
            script,
            child,
        })
    }

    /// Starts it again if it has ended, which it does when its card goes away.
    pub fn keep_alive(&mut self) -> Result<()> {
        if !matches!(self.child.try_wait(), Ok(None)) {
            self.child = spawn(&self.card, &self.script)?;
        }
        Ok(())
    }
}

fn spawn(card: &str, script: &Path) -> Result<Child> {
    Command::new("udhcpc")
        // Foreground; three questions, two seconds apart, then five seconds of silence, then again.
        .args(["-f", "-t", "3", "-T", "2", "-A", "5", "-i", card, "-s"])
        .arg(script)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting udhcpc")
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str, link: bool, usb: bool, booted: bool) -> Nic {
        Nic {
            name: name.into(),
            link,
            usb,
            booted,
            ..Nic::default()
        }
    }

    fn names<'a>(cards: &[&'a Nic]) -> Vec<&'a str> {
        cards.iter().map(|card| card.name.as_str()).collect()
    }

    #[test]
    fn the_card_that_booted_is_asked_first_and_the_others_only_when_it_fails() {
        let cards = [
            card("eth0", true, false, false),
            card("eth1", false, false, true),
            card("eth2", false, false, false),
        ];
        assert_eq!(names(&candidates(&cards, false)), ["eth1"]);
        assert_eq!(names(&candidates(&cards, true)), ["eth1", "eth0"]);
    }

    #[test]
    fn of_two_cards_with_the_address_that_booted_the_one_with_a_link_is_asked() {
        let cards = [card("eth0", false, false, true), card("eth1", true, false, true)];
        assert_eq!(names(&candidates(&cards, false)), ["eth1"]);
        assert_eq!(names(&candidates(&cards, true)), ["eth1"]);
        let unplugged = [card("eth0", false, false, true), card("eth1", false, false, true)];
        assert_eq!(
            names(&candidates(&unplugged, false)),
            ["eth0", "eth1"],
            "a link may come late"
        );
    }

    #[test]
    fn without_a_hint_every_card_with_a_link_is_asked_and_usb_last() {
        let cards = [
            card("eth0", true, true, false),
            card("eth1", true, false, false),
            card("eth2", false, false, false),
        ];
        assert_eq!(names(&candidates(&cards, false)), ["eth1", "eth0"]);
    }
}
