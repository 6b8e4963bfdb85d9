// SPDX-License-Identifier: Apache-2.0
//! Machines on their way from the power button to node-init: what the edges saw goes into the journal, what it teaches
//! into the memory. From memory only: the receive loops call this.

use std::net::Ipv4Addr;
use std::sync::Arc;

use provisioner_api::{Inventory, Life, RamManifest};
use pxe::Mac;
use pxe::bootfile::{LOCAL_GRUB_BIOS, Loader};
use pxe::dhcp::Heard;
use pxe::home::Home;
use pxe::ipxe::Way;
use tracing::{info, warn};

use super::App;
use crate::boot::Boot;
use crate::journal::{Began, Step, loader};
use crate::network::neighbours;
use crate::network::{Advice, Asked, Fetch, Sighting};
use crate::registry::RegistryError;

/// What a machine fetches over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched<'a> {
    /// A loader, by its file name.
    Loader(&'a str),
    /// The kernel.
    Kernel,
    /// The initramfs.
    Initrd,
}

impl App {
    /// A card asks by DHCP. Returns what is known of it.
    pub fn asked(&self, asked: &Asked<'_>, now: i64) -> Advice {
        let client = asked.client;
        if self.journal.asked(asked, now) == Began::Anew {
            self.starts_again(client.mac, client.firmware.map_or("", pxe::client::Firmware::word));
        }
        Advice {
            loader: self.memory.suits(client, |file| self.images.has_loader(file)),
            leave: self.leaves(client.mac, asked.interface, asked.relay),
        }
    }

    /// A card was answered.
    pub fn answered(&self, sighting: &Sighting, now: i64) {
        self.journal.answered(sighting, now);
    }

    /// Another server answered somebody.
    pub fn overheard(&self, heard: &Heard, now: i64) {
        self.journal.overheard(heard, now);
    }

    /// A transfer by TFTP begins. What firmware fetches counts when it has arrived, what its loader fetches now: a
    /// kernel takes a while on a slow wire.
    pub fn fetches_by_tftp(&self, from: Ipv4Addr, file: &str, now: i64) {
        let step = match file.trim_start_matches('/').strip_prefix("ram/") {
            Some(path) if path.ends_with(RamManifest::KERNEL) => Step::Kernel,
            Some(path) if path.ends_with(RamManifest::INITRD) => Step::Initrd,
            _ => return,
        };
        if let Some(mac) = self.card_at(from) {
            self.journal.note(mac, step, now);
        }
    }

    /// A transfer by TFTP ended.
    pub fn fetched_by_tftp(&self, fetch: &Fetch, now: i64) {
        let Some(mac) = self.card_at(fetch.peer) else { return };
        let size = loader(&fetch.file).and_then(|loader| self.images.loader(loader.file()));
        let size = size.map_or(0, |content| content.len() as u64);
        if let Some(loader) = self.journal.fetched(mac, fetch, size, now) {
            self.took_loader(mac, loader);
        }
    }

    /// A file was asked for over HTTP.
    pub fn fetched_by_http(&self, from: Ipv4Addr, what: Fetched<'_>, now: i64) {
        let Some(mac) = self.card_at(from) else { return };
        match what {
            Fetched::Kernel => self.journal.note(mac, Step::Kernel, now),
            Fetched::Initrd => self.journal.note(mac, Step::Initrd, now),
            Fetched::Loader(name) => {
                if let Some(loader) = loader(name) {
                    self.journal.note(mac, Step::Loader { loader, whole: true }, now);
                    self.took_loader(mac, loader);
                }
            }
        }
    }

    /// A boot script was given out to a card that asked from this address.
    pub(super) fn scripted(&self, mac: Mac, from: Ipv4Addr, boot: &Boot, home: &Home, now: i64) {
        self.journal.script(mac, from, boot.word(), now);
        let way = self.first_way(mac, home);
        self.memory.change(mac, |lessons| {
            lessons.loader.arrives();
            match boot {
                Boot::LocalDisk if *home != Home::Any => lessons.disk.takes(way.word()),
                // The way was a good one: it has looked at every disk. What is missing is the system.
                Boot::NotFound => lessons.disk.trying = None,
                _ => {}
            }
        });
    }

    /// The ways to the own disk of the machine with this card, for BIOS and for UEFI.
    pub fn ways(&self, mac: Option<Mac>, home: &Home) -> (Vec<Way>, Vec<Way>) {
        let remembered = match mac {
            Some(mac) => self.memory.ways(mac, &Way::ALL),
            None => Way::ALL.to_vec(),
        };
        // BIOS itself starts the disks of a machine that is no node in the order of its set-up. A RAM environment of
        // before there were marks has nothing that could look for a node's.
        let can_look = *home != Home::Any && self.images.has_loader(LOCAL_GRUB_BIOS);
        let of_bios = if can_look { remembered.clone() } else { vec![Way::Exit] };
        (of_bios, remembered)
    }

    /// node-init introduced itself from the machine with these cards.
    pub(super) fn introduced(&self, inventory: &Inventory, life: Life, now: i64) {
        let model = crate::registry::Outline::of(inventory).model;
        let cards = inventory.nics.iter().filter_map(|nic| nic.mac.parse::<Mac>().ok());
        for mac in cards {
            self.journal.note(mac, Step::Registered { life }, now);
            // A card that never started anything has nothing to teach.
            if self.memory.of(mac).is_some() {
                self.memory.change(mac, |lessons| {
                    lessons.model.clone_from(&model);
                    if life == Life::Installed {
                        lessons.disk.arrives();
                    }
                });
            }
        }
    }

    /// A machine has started from its own disk, though it was not node-init that said so: the way there is a good one.
    pub(super) fn started_from_disk(&self, inventory: &Inventory) {
        let cards = inventory.nics.iter().filter_map(|nic| nic.mac.parse::<Mac>().ok());
        for mac in cards.filter(|mac| self.memory.of(*mac).is_some()) {
            self.memory.change(mac, |lessons| lessons.disk.arrives());
        }
    }

    /// Saves what was learnt. Writes.
    pub fn keep_lessons(&self, now: i64) -> Result<(), RegistryError> {
        let changed = self.memory.take_changed();
        if changed.is_empty() {
            return Ok(());
        }
        self.registry.keep_lessons(&changed, now).inspect_err(|_| {
            self.memory.not_saved(changed.iter().map(|(mac, _)| *mac));
        })
    }

    /// The machine starts anew: what it had tried has led nowhere.
    fn starts_again(&self, mac: Mac, firmware: &str) {
        if self.memory.of(mac).is_none() {
            return;
        }
        let (loader, disk) = self.memory.change(mac, |lessons| {
            if !firmware.is_empty() {
                firmware.clone_into(&mut lessons.firmware);
            }
            (lessons.loader.starts_again(), lessons.disk.starts_again())
        });
        if let Some(loader) = loader {
            info!(%mac, loader, "fell silent after this loader: it gets the next one");
        }
        if let Some(way) = disk {
            info!(%mac, way, "its disk did not start this way: it gets the next one");
        }
    }

    fn took_loader(&self, mac: Mac, loader: Loader) {
        let firmware = self.journal.of(mac).and_then(|card| card.last()?.client.firmware);
        self.memory.change(mac, |lessons| {
            lessons.loader.takes(loader.file());
            if let Some(firmware) = firmware {
                firmware.word().clone_into(&mut lessons.firmware);
            }
        });
    }

    fn first_way(&self, mac: Mac, home: &Home) -> Way {
        let bios = self
            .journal
            .of(mac)
            .is_none_or(|card| card.client.firmware == Some(pxe::client::Firmware::Bios));
        let (of_bios, of_uefi) = self.ways(Some(mac), home);
        // Neither list is ever empty.
        let ways = if bios { of_bios } else { of_uefi };
        ways.first().copied().unwrap_or(Way::Exit)
    }

    fn card_at(&self, address: Ipv4Addr) -> Option<Mac> {
        self.journal.card_at(address).or_else(|| neighbours::card_at(address))
    }
}

/// Saves what is learnt, for ever.
pub async fn keep_lessons(app: Arc<App>) -> anyhow::Result<()> {
    loop {
        app.memory.changed().await;
        let saving = Arc::clone(&app);
        let saved = tokio::task::spawn_blocking(move || saving.keep_lessons(crate::serve::now())).await?;
        if let Err(error) = saved {
            // It is still known, and the next change tries again.
            warn!(%error, "saving what was learnt about loaders");
        }
    }
}
