// SPDX-License-Identifier: Apache-2.0
//! Arguments of a kernel, as both kinds of boot script carry them.

use std::fmt;

use crate::ipxe::{self, Word};

/// One argument of a kernel: a word of a boot script, in which `;`, `$`, `(` and `)` may stand too
/// (`ds=nocloud;s=http://…`, `memmap=2M$0x1000000`).
///
/// iPXE ends a command at a semicolon only where that is a word by itself, and expands a dollar only before a brace, which
/// no argument holds. GRUB's template puts every argument between single quotes, in which nothing means anything. What
/// GRUB itself changes on the way to the kernel (quotes, backslashes) is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(String);

/// This is not one argument of a kernel that a boot script can carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a kernel argument in a boot script: a letter, a digit or a slash first, then also ._:/?&=+,@%~*-[]!;$()"
)]
pub struct Unfit(pub String);

impl Argument {
    /// Takes text that is one.
    pub fn new(text: impl Into<String>) -> Result<Self, Unfit> {
        let text = text.into();
        // Without them it is a word like any other; what begins with one would be none of ours.
        let own = [';', '$', '(', ')'];
        if !text.starts_with(own) && Word::new(text.replace(own, "")).is_ok() {
            Ok(Self(text))
        } else {
            // Enough to recognise it; what is wrong may be a megabyte long.
            Err(Unfit(text.chars().take(60).collect()))
        }
    }

    /// Takes a command line apart at its blanks.
    pub fn several(line: &str) -> Result<Vec<Self>, Unfit> {
        line.split_ascii_whitespace().map(Self::new).collect()
    }

    /// What it sets: all before the first `=`.
    pub fn key(&self) -> &str {
        self.0.split('=').next().unwrap_or_default()
    }
}

impl From<Unfit> for ipxe::Unfit {
    fn from(unfit: Unfit) -> Self {
        Self(unfit.0)
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_semicolon_inside_is_part_of_it_and_at_the_front_is_none() {
        assert!(Argument::new("ds=nocloud;s=http://192.0.2.1:8080/install/4f1c/").is_ok());
        for text in [
            "", ";", "$", "()", "$x", "--", "-s", "a{b", ";reboot", "a b", "a\n;b", "a'b", "${x}", "a#b", "\"a\"",
            "a\\",
        ] {
            assert_eq!(Argument::new(text), Err(Unfit(text.into())), "{text}");
        }
    }

    #[test]
    fn what_memory_maps_and_debugging_need_can_be_an_argument() {
        let line = "memmap=2M$0x1000000 x=a;b f(x) acpi_osi=!Linux quiet";
        let arguments = Argument::several(line).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(arguments.map(|all| all.join(" ")), Ok(line.to_owned()));
        for line in ["video=\"x y\"", "quiet -- single", "a=${net0/ip}"] {
            assert!(Argument::several(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn every_argument_stays_one(text in any::<String>()) {
            if let Ok(argument) = Argument::new(text) {
                let text = argument.to_string();
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                let meaningful = ['{', '}', '|', '#', '"', '\'', '\\', '`'];
                prop_assert!(!text.contains(meaningful));
                prop_assert!(!text.starts_with([';', '$', '(', ')', '-']));
            }
        }
    }
}
