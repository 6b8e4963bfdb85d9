// SPDX-License-Identifier: Apache-2.0
//! Rules that approve a node without a person: what a machine must be like, and what it becomes then.

use provisioner_api::{FirmwareType, Inventory, Kvm};

use crate::disks::{Choice, is_built_in, is_empty};

/// One `[[auto_approve]]` of the configuration: all conditions that are there must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name, for the event that it leaves.
    pub name: String,
    /// What the node becomes; the default profile if absent.
    pub profile: Option<String>,
    /// Conditions.
    pub when: Conditions,
}

/// What a rule asks of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Maker of the system, with `*` and `?`, upper and lower case alike.
    pub manufacturer: Option<String>,
    /// Model of the system, likewise.
    pub product: Option<String>,
    /// Bytes of RAM at least.
    pub memory_min: Option<u64>,
    /// Bytes that the disk to be written has at least.
    pub disk_min: Option<u64>,
    /// Whether the processor runs 64-bit code.
    pub cpu_64bit: Option<bool>,
    /// Whether KVM is usable.
    pub kvm: Option<bool>,
    /// Beginning of the address of any card that is not USB, lower case with colons.
    pub mac_prefix: Option<String>,
    /// How the machine was started.
    pub firmware: Option<FirmwareType>,
    /// Whether every disk that is neither removable nor USB is empty.
    pub disks_empty: Option<bool>,
}

impl Conditions {
    /// Whether all hold for a machine whose disk would be `choice`.
    pub fn hold(&self, inventory: &Inventory, choice: &Choice) -> bool {
        let smbios = &inventory.smbios;
        let like = |pattern: &Option<String>, label: &Option<String>| match pattern {
            None => true,
            Some(pattern) => label.as_deref().is_some_and(|label| glob(pattern, label.trim())),
        };
        let is = |wanted: Option<bool>, has: bool| wanted.is_none_or(|wanted| wanted == has);
        let at_least = |wanted: Option<u64>, has: u64| wanted.is_none_or(|wanted| has >= wanted);
        like(&self.manufacturer, &smbios.system_manufacturer)
            && like(&self.product, &smbios.system_product)
            && at_least(self.memory_min, inventory.memory)
            && at_least(self.disk_min, choice.disk.size)
            && is(self.cpu_64bit, inventory.cpu.bits64)
            && is(self.kvm, inventory.cpu.kvm == Kvm::Usable)
            && self
                .mac_prefix
                .as_deref()
                .is_none_or(|prefix| has_card(inventory, prefix))
            && self.firmware.is_none_or(|firmware| firmware == inventory.firmware)
            && is(
                self.disks_empty,
                inventory.disks.iter().filter(|disk| is_built_in(disk)).all(is_empty),
            )
    }
}

fn has_card(inventory: &Inventory, prefix: &str) -> bool {
    inventory
        .nics
        .iter()
        .filter(|nic| !nic.usb)
        .any(|nic| nic.mac.to_lowercase().starts_with(prefix))
}

/// Whether `text` fits `pattern`, where `*` stands for any letters and `?` for one; case does not count.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    // The last star, and how much of the text it was given: on a mismatch it is given one letter more.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests;
