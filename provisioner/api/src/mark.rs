// SPDX-License-Identifier: Apache-2.0
//! The mark of an installation: a file by which a loader tells the disk with this node's own system from every other
//! disk in the machine.
//!
//! Each installation has a mark of its own, so that neither a disk of another node nor an earlier system of the same
//! node is taken for it. A mark is no secret: anybody can read it in the boot script.

/// Letters of a mark at most.
const LONGEST: usize = 32;
/// The folder of marks, on the file system that holds `/boot` and on the EFI system partition (there below its root).
const FOLDER: &str = "gleaner";

/// Whether this is a mark: `[a-z0-9]{1,32}`. Nothing else is written to a disk or put into a script.
pub fn is_mark(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(letter)
}

/// The file of a mark in an installed system, without a slash in front.
pub fn mark_file(mark: &str) -> String {
    format!("boot/{FOLDER}/{mark}")
}

/// The file of a mark in the seed of a ready-made image, which has no other file of ours before its first start.
pub fn mark_in_seed(mark: &str) -> String {
    format!("{FOLDER}-{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lead_elsewhere_or_end_a_word_is_no_mark() {
        for text in ["", "..", "a/b", "a b", "A", "a-b", "a\"", "$a", &"a".repeat(33)] {
            assert!(!is_mark(text), "{text:?}");
        }
        assert!(is_mark("0123456789abcdef"));
    }
}
