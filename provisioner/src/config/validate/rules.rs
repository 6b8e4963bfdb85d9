// SPDX-License-Identifier: Apache-2.0
//! Rules that approve without a person. A condition that no machine can fulfil is a mistake, and is told as one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use provisioner_api::FirmwareType;

use super::{size, written};
use crate::config::Profile;
use crate::rules::{Conditions, Rule};

/// Bytes of a label in SMBIOS that anybody has seen, many times over.
const LONGEST_LABEL: usize = 200;
/// Bytes of memory, and of a disk, that no PC has: 16 TB and a petabyte.
const TOO_MUCH_MEMORY: u64 = 1 << 44;
const TOO_MUCH_DISK: u64 = 1 << 50;

/// `[[auto_approve]]`
pub(super) fn rules(written: Vec<written::Rule>, profiles: &BTreeMap<String, Profile>) -> Result<Vec<Rule>> {
    let mut names = BTreeSet::new();
    let rule = |written: written::Rule| {
        ensure!(
            !written.name.trim().is_empty() && !written.name.contains(char::is_control),
            "auto_approve: the name {:?} says nothing; it stands in the list of events, so give the rule one line of words",
            written.name
        );
        ensure!(
            names.insert(written.name.clone()),
            "auto_approve {:?}: another rule has this name, and the list of events could not tell them apart",
            written.name
        );
        rule(written, profiles)
    };
    written.into_iter().map(rule).collect()
}

fn rule(written: written::Rule, profiles: &BTreeMap<String, Profile>) -> Result<Rule> {
    let name = written.name;
    let option = |option: &str| format!("auto_approve {name:?}: {option}");
    if let Some(profile) = &written.profile {
        ensure!(
            profiles.contains_key(profile),
            "{}: there is no [profiles.{profile}]",
            option("profile")
        );
    }
    let size = |what: &str, text: Option<String>, too_much: u64| {
        let Some(text) = text else { return Ok(None) };
        let bytes = size(&option(what), &text)?;
        ensure!(bytes < too_much, "{}: no machine has {text}", option(what));
        Ok(Some(bytes))
    };
    ensure!(
        written.cpu_64bit != Some(false),
        "{}: a machine without 64-bit mode cannot start the RAM environment, so false never holds; leave it out",
        option("cpu_64bit")
    );
    let installs = written
        .profile
        .as_ref()
        .and_then(|profile| profiles.get(profile)?.installer());
    ensure!(
        written.firmware != Some(FirmwareType::Uefi32) || installs.is_none(),
        "{}: installers and ready-made images do not start from a 32-bit UEFI; name a profile with an image of `images build \
         node`",
        option("firmware")
    );
    let when = Conditions {
        manufacturer: label(&option("manufacturer"), written.manufacturer)?,
        product: label(&option("product"), written.product)?,
        memory_min: size("memory_min", written.memory_min, TOO_MUCH_MEMORY)?,
        disk_min: size("disk_min", written.disk_min, TOO_MUCH_DISK)?,
        cpu_64bit: written.cpu_64bit,
        kvm: written.kvm,
        mac_prefix: written
            .mac_prefix
            .map(|prefix| mac_prefix(&prefix).with_context(|| option("mac_prefix")))
            .transpose()?,
        firmware: written.firmware,
        disks_empty: written.disks_empty,
    };
    Ok(Rule {
        profile: written.profile,
        when,
        name,
    })
}

/// A pattern for a label, which is held against it without blanks at its ends.
fn label(option: &str, pattern: Option<String>) -> Result<Option<String>> {
    let Some(pattern) = pattern else { return Ok(None) };
    let can_hold = !pattern.is_empty()
        && pattern.trim() == pattern
        && pattern.len() <= LONGEST_LABEL
        && !pattern.contains(char::is_control);
    ensure!(
        can_hold,
        "{option}: {:?} fits no machine: a label has no blank at either end and is one line; such as \"Dell*\"",
        pattern.chars().take(60).collect::<String>()
    );
    Ok(Some(pattern))
}

/// The beginning of a card's address, in lower case with colons: `00:1b:21` from `00-1B-21`, `001B21` or `001b.21`.
pub fn mac_prefix(text: &str) -> Result<String> {
    let wrong = || {
        format!(
            "{:?} is not the beginning of a card's hardware address: whole pairs of hexadecimal digits, like 00:1b:21",
            text.chars().take(40).collect::<String>()
        )
    };
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let separated = text
        .split([':', '-', '.'])
        .all(|part| matches!(part.len(), 2 | 4) || !text.contains([':', '-', '.']));
    let fits = (2..=12).contains(&digits.len())
        && digits.len().is_multiple_of(2)
        && separated
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    ensure!(fits, wrong());
    let pairs: Vec<String> = digits
        .to_ascii_lowercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned())
        .collect();
    let first = u8::from_str_radix(&pairs[0], 16).with_context(wrong)?;
    // IEEE 802: the lowest bit of the first byte is set in the addresses of groups.
    ensure!(
        first & 1 == 0,
        "{}; this is how groups' addresses begin, and no card's",
        wrong()
    );
    ensure!(
        digits.len() < 12 || digits.bytes().any(|digit| digit != b'0'),
        "{}; all zeros are no card's",
        wrong()
    );
    Ok(pairs.join(":"))
}
