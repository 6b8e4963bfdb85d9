// SPDX-License-Identifier: Apache-2.0
//! What lies on a disk or in a partition, by libblkid's knowledge: file systems, members of arrays and volume groups,
//! encryption. It only names; whether a disk is empty is decided without it.

use std::path::Path;
use std::time::Duration;

use crate::inventory::text::label;
use crate::programs::{Programs, Shell};

/// blkid reads some hundred places; a disk that is slower than this is not asked on.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Our word for it where we have one, else libblkid's.
    pub(crate) filesystem: String,
    /// Its label.
    pub(crate) label: Option<String>,
}

/// Our words, which nodes and controllers had before libblkid was asked.
const WORDS: [(&str, &str); 4] = [
    ("crypto_LUKS", "luks"),
    ("LVM2_member", "lvm"),
    ("linux_raid_member", "raid"),
    ("BitLocker", "bitlocker"),
];

/// What people call things that are part of something larger.
const MEMBERS: [(&str, &str); 19] = [
    ("lvm", "LVM volume group member"),
    ("LVM1_member", "LVM volume group member"),
    ("raid", "Linux RAID member"),
    ("zfs_member", "zfs member"),
    ("isw_raid_member", "Intel RAID member"),
    ("ddf_raid_member", "DDF RAID member"),
    ("promise_fasttrack_raid_member", "AMD or Promise RAID member"),
    ("nvidia_raid_member", "NVIDIA RAID member"),
    ("hpt37x_raid_member", "HighPoint RAID member"),
    ("hpt45x_raid_member", "HighPoint RAID member"),
    ("silicon_medley_raid_member", "Silicon Image RAID member"),
    ("jmicron_raid_member", "JMicron RAID member"),
    ("lsi_mega_raid_member", "LSI RAID member"),
    ("via_raid_member", "VIA RAID member"),
    ("adaptec_raid_member", "Adaptec RAID member"),
    ("drbd", "DRBD member"),
    ("VMFS_volume_member", "VMFS member"),
    ("ceph_bluestore", "Ceph member"),
    ("bcache", "bcache member"),
];

/// Whether a name means a part of something larger, and what people call that.
pub(super) fn member(filesystem: &str) -> Option<&'static str> {
    let known = MEMBERS.iter().find(|(name, _)| *name == filesystem);
    known.map(|(_, words)| *words)
}

/// Asks blkid about `size` bytes from `start` of a device; `None` where it knows nothing, or there is no blkid.
pub(crate) fn ask(device: &Path, start: u64, size: u64) -> Option<Found> {
    let (device, start, size) = (device.to_str()?, start.to_string(), size.to_string());
    let command = [
        "blkid", "--probe", "--output", "udev", "--offset", &start, "--size", &size, device,
    ];
    let answer = match Shell.run(&command, PATIENCE) {
        Ok(answer) => answer,
        // Several things at once are told with an exit status of their own.
        Err(error) => error.stdout()?.to_owned(),
    };
    parse(&answer)
}

/// Reads lines like `ID_FS_TYPE=ext4`.
fn parse(answer: &str) -> Option<Found> {
    let value = |key: &str| {
        let mut pairs = answer.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let word = |name: &str| {
        let ours = WORDS.iter().find(|(theirs, _)| *theirs == name);
        label(ours.map_or(name, |(_, ours)| ours).as_bytes())
    };
    // `raid:linux_raid_member:1.0 filesystem:ext4:1.0`
    let several = || {
        let all = value("ID_FS_AMBIVALENT")?.split_whitespace();
        let words: Vec<String> = all.filter_map(|one| word(one.split(':').nth(1)?)).collect();
        (!words.is_empty()).then(|| words.join(" or "))
    };
    Some(Found {
        filesystem: value("ID_FS_TYPE").and_then(word).or_else(several)?,
        label: value("ID_FS_LABEL_ENC").and_then(|encoded| label(&decode(encoded))),
    })
}

/// libblkid writes what is not plain as `\x20`.
fn decode(encoded: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'\\', b'x', high, low, ..] => hex::decode([*high, *low]).ok(),
            _ => None,
        };
        if let Some(byte) = escaped {
            bytes.extend(byte);
            rest = &rest[4..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_blkid_says_is_told_in_our_words_with_the_label_as_it_was_given() {
        let found = |answer| parse(answer).map(|found| (found.filesystem, found.label));
        let label = |text: &str| Some(text.to_owned());
        for (answer, told) in [
            (
                "ID_FS_TYPE=crypto_LUKS\nID_FS_USAGE=crypto\n",
                Some(("luks".to_owned(), None)),
            ),
            (
                "ID_FS_LABEL=my_lab\nID_FS_LABEL_ENC=my\\x20lab\\x1b\\x\nID_FS_TYPE=ext4\n",
                Some(("ext4".to_owned(), label("my lab\\x"))),
            ),
            (
                "ID_FS_AMBIVALENT=raid:linux_raid_member:1.0 filesystem:ext4:1.0\n",
                Some(("raid or ext4".to_owned(), None)),
            ),
            ("ID_PART_TABLE_TYPE=gpt\n", None),
            ("", None),
        ] {
            assert_eq!(found(answer), told, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange_to_read(answer in "(ID_FS_(TYPE|LABEL_ENC|AMBIVALENT)=[ -~]{0,20}\n){0,4}", text in "(?s).{0,99}") {
            parse(&answer);
            parse(&text);
            decode(&text);
        }
    }
}
