// SPDX-License-Identifier: Apache-2.0
//! Arguments of an installer's kernel, as both kinds of boot script carry them.

use std::fmt;

use crate::ipxe::Word;

/// One argument of a kernel: a word of a boot script, in which a semicolon may stand too (`ds=nocloud;s=http://…`).
///
/// iPXE ends a command at a semicolon only where that is a word by itself. GRUB ends it at any, but for those between
/// single quotes, in which its template puts every argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(String);

/// This is not one argument of a kernel that a boot script can carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be a kernel argument in a boot script: letters, digits and ._:/?&=+,@%~*-[]!; only")]
pub struct Unfit(pub String);

impl Argument {
    /// Takes text that is one.
    pub fn new(text: impl Into<String>) -> Result<Self, Unfit> {
        let text = text.into();
        // What is left of it between semicolons is checked as a word; what begins with one would be none of ours.
        let begins = text.as_bytes().first().is_some_and(|byte| *byte != b';');
        if begins && Word::new(text.replace(';', "")).is_ok() {
            Ok(Self(text))
        } else {
            Err(Unfit(text))
        }
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
        for text in ["", ";", ";reboot", "a b", "a\n;b", "a'b", "${x}", "a#b", "\"a\"", "a\\"] {
            assert_eq!(Argument::new(text), Err(Unfit(text.into())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_argument_stays_one(text in any::<String>()) {
            if let Ok(argument) = Argument::new(text) {
                let text = argument.to_string();
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!text.contains(['$', '|', '#', '"', '\'', '\\', '`']));
                prop_assert!(!text.starts_with(';'));
            }
        }
    }
}
