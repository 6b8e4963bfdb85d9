// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use provisioner_api::Life;
use pxe::client::Firmware;

use super::*;
use crate::network::Answered;

pub(crate) const SECOND: i64 = 1000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A card that a test plays, and the journal that watches it.
pub(crate) struct Play {
    pub(crate) journal: Journal,
    pub(crate) client: Client,
    pub(crate) now: i64,
    pub(crate) address: Ipv4Addr,
    pub(crate) secs: u16,
    xid: u32,
}

pub(crate) fn client(number: u32, firmware: Option<Firmware>, speaker: Speaker) -> Client {
    let [a, b, c, d] = number.to_be_bytes();
    Client {
        mac: Mac([0x00, 0x1b, a, b, c, d]),
        firmware,
        speaker,
        uuid: None,
        quirk: None,
    }
}

impl Play {
    pub(crate) fn new(firmware: Firmware) -> Self {
        Self {
            journal: Journal::default(),
            client: client(1, Some(firmware), Speaker::PxeRom),
            now: 1_800_000_000_000,
            address: Ipv4Addr::new(10, 77, 0, 130),
            secs: 0,
            xid: 0,
        }
    }

    pub(crate) fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds * SECOND;
        self
    }

    /// A packet of the client.
    pub(crate) fn say(&mut self, speaker: Speaker, kind: Kind, chosen: Option<Ipv4Addr>) -> Began {
        self.xid += 1;
        let client = Client { speaker, ..self.client };
        let asked = Asked {
            client: &client,
            interface: &"br0".into(),
            kind,
            xid: self.xid,
            secs: self.secs,
            address: chosen.map(|_| self.address),
            chosen,
            relay: None,
            relay_agent: &[],
            stranded: None,
        };
        self.journal.asked(&asked, self.now)
    }

    pub(crate) fn answer(&mut self, answered: Answered, told: &str) -> &mut Self {
        let sighting = Sighting {
            client: self.client,
            interface: "br0".into(),
            answered,
            address: Some(self.address),
            told: told.into(),
        };
        self.journal.answered(&sighting, self.now);
        self
    }

    /// The whole exchange: DISCOVER, OFFER, REQUEST, ACK.
    pub(crate) fn dhcp(&mut self, speaker: Speaker, told: &str) -> Began {
        let began = self.say(speaker, Kind::Discover, None);
        self.answer(Answered::Offer, told);
        self.say(speaker, Kind::Request, Some(SERVER));
        self.answer(Answered::Ack, told);
        began
    }

    pub(crate) fn fetch(&mut self, file: &str, bytes: u64, size: u64, ended: Ended) -> Option<Loader> {
        let fetch = Fetch {
            peer: self.address,
            file: file.into(),
            bytes,
            failure: None,
            ended,
        };
        let mac = self.journal.card_at(self.address).unwrap();
        self.journal.fetched(mac, &fetch, size, self.now)
    }

    pub(crate) fn note(&mut self, step: Step) -> &mut Self {
        self.journal.note(self.client.mac, step, self.now);
        self
    }

    pub(crate) fn script(&mut self, decision: &'static str) -> &mut Self {
        self.journal.script(self.client.mac, self.address, decision, self.now);
        self
    }

    /// From the power button to the boot script.
    pub(crate) fn climbs(&mut self, decision: &'static str) -> Began {
        let began = self.dhcp(Speaker::PxeRom, "undionly.kpxe");
        self.fetch("undionly.kpxe", 80_000, 80_000, Ended::Whole);
        self.wait(2)
            .dhcp(Speaker::Ipxe, "http://10.77.0.1:8080/boot/ipxe?mac=x");
        self.script(decision);
        began
    }

    pub(crate) fn card(&self) -> Card {
        self.journal.of(self.client.mac).unwrap()
    }
}

#[test]
fn a_start_is_told_step_by_step() {
    let mut play = Play::new(Firmware::Bios);
    assert_eq!(play.climbs("discover"), Began::Anew);
    play.note(Step::Kernel).note(Step::Initrd).wait(20);
    play.say(Speaker::System, Kind::Discover, None);
    play.note(Step::Registered { life: Life::Ram });
    let card = play.card();
    let told: Vec<String> = card
        .last()
        .unwrap()
        .steps
        .iter()
        .map(|seen| seen.step.to_string())
        .collect();
    assert_eq!(
        told,
        [
            "PXE firmware asked by DHCP (discover)",
            "was offered an address: undionly.kpxe",
            "PXE firmware asked by DHCP (request)",
            "took the offer of 10.77.0.1",
            "was given an address: undionly.kpxe",
            "fetched the loader undionly.kpxe",
            "iPXE asked by DHCP (discover)",
            "was offered an address: http://10.77.0.1:8080/boot/ipxe?mac=x",
            "iPXE asked by DHCP (request)",
            "took the offer of 10.77.0.1",
            "was given an address: http://10.77.0.1:8080/boot/ipxe?mac=x",
            "read its boot script: discover",
            "fetched the kernel",
            "fetched the initramfs",
            "system asked by DHCP (discover)",
            "node-init introduced itself",
        ]
    );
    assert_eq!(
        (card.attempts.len(), card.last().unwrap().told),
        (1, Some(Loader::Undionly))
    );
}

#[test]
fn a_start_begins_where_firmware_asks_after_it_had_got_on_or_been_silent() {
    let mut play = Play::new(Firmware::Bios);
    assert_eq!(play.say(Speaker::PxeRom, Kind::Discover, None), Began::Anew);
    for _ in 0..5 {
        // Firmware that hears nothing asks again: still the same start.
        assert_eq!(play.wait(8).say(Speaker::PxeRom, Kind::Discover, None), Began::No);
    }
    assert_eq!(play.climbs("discover"), Began::No);
    assert_eq!(play.wait(30).climbs("discover"), Began::Anew);
    // Between two starts of an iPXE in ROM lies the script.
    assert_eq!(play.wait(30).dhcp(Speaker::Ipxe, ""), Began::Anew);
    assert_eq!(play.wait(30).dhcp(Speaker::Ipxe, ""), Began::No);
    assert_eq!(play.wait(300).dhcp(Speaker::Ipxe, ""), Began::Anew);
    assert_eq!(play.card().attempts.len(), ATTEMPTS);
}

#[test]
fn a_question_that_was_under_way_twice_is_no_new_start() {
    let mut play = Play::new(Firmware::Bios);
    play.dhcp(Speaker::PxeRom, "undionly.kpxe");
    play.fetch("undionly.kpxe", 80_000, 80_000, Ended::Whole);
    let last = play.card().last().unwrap().xid;
    play.xid = last - 1;
    assert_eq!(play.say(Speaker::PxeRom, Kind::Discover, None), Began::No);
    // Some ROMs make the transaction of their address: it is the same at every start.
    play.xid = last - 1;
    assert_eq!(play.wait(20).say(Speaker::PxeRom, Kind::Discover, None), Began::Anew);
}

#[test]
fn a_loader_counts_as_fetched_when_only_its_last_acknowledgement_is_missing() {
    let mut play = Play::new(Firmware::UefiX64);
    play.dhcp(Speaker::PxeRom, "ipxe.efi");
    assert_eq!(play.fetch("ipxe.efi", 0, 1_000_000, Ended::SizeOnly), None);
    assert_eq!(play.fetch("ipxe.efi", 500_000, 1_000_000, Ended::Broken), None);
    assert_eq!(
        play.fetch("/ipxe.efi", 999_000, 1_000_000, Ended::Broken),
        Some(Loader::IpxeX64)
    );
    assert_eq!(
        play.fetch("ipxe.efi", 1_000_000, 1_000_000, Ended::Whole),
        Some(Loader::IpxeX64)
    );
    assert_eq!(play.fetch("autoexec.ipxe", 300, 0, Ended::Whole), None);
    assert_eq!(play.fetch("grub/grub.cfg", 0, 0, Ended::Absent), None);
    assert!(
        play.card()
            .last()
            .unwrap()
            .has(|step| matches!(step, Step::Missing { .. }))
    );
}

#[test]
fn a_system_that_never_boots_is_a_card_without_starts() {
    let mut play = Play::new(Firmware::Bios);
    play.client.firmware = None;
    assert_eq!(play.say(Speaker::System, Kind::Discover, None), Began::No);
    assert!(play.card().attempts.is_empty());
}

#[test]
fn a_hundred_thousand_cards_leave_a_bounded_trace_and_do_not_push_out_one_that_boots() {
    let mut play = Play::new(Firmware::Bios);
    play.climbs("discover");
    let mac = play.client.mac;
    for number in 2..100_000 {
        play.client = client(number, None, Speaker::System);
        play.address = Ipv4Addr::from(number);
        play.now += 1;
        play.say(Speaker::System, Kind::Discover, None);
        play.answer(Answered::Offer, "");
    }
    assert!(play.journal.of(mac).is_some());
    let kept = play.journal.0.lock().unwrap();
    assert!((CARDS - FORGOTTEN..=CARDS).contains(&kept.cards.len()));
    assert!(kept.addresses.len() <= ADDRESSES, "{} addresses", kept.addresses.len());
}

#[test]
fn a_card_that_asks_a_million_times_leaves_a_bounded_trace() {
    let mut play = Play::new(Firmware::Bios);
    for number in 0..10_000 {
        play.now += SECOND;
        play.climbs("stop");
        play.address = Ipv4Addr::from(number);
        play.note(Step::Missing {
            file: number.to_string().into(),
        });
    }
    let card = play.card();
    assert_eq!(card.attempts.len(), ATTEMPTS);
    assert!(card.attempts.iter().all(|attempt| attempt.steps.len() <= STEPS));
    assert!(play.journal.0.lock().unwrap().addresses.len() <= ADDRESSES);
}
