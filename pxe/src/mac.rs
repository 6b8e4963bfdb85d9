// SPDX-License-Identifier: Apache-2.0
//! An Ethernet hardware address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet hardware address: lower case with colons as text, also read with dashes and in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// Not an Ethernet hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hardware address like 52:54:00:77:00:01")]
pub struct BadMac(pub String);

impl Mac {
    /// With dashes, as boot scripts and PXELINUX write it: `52-54-00-77-00-01`.
    pub fn dashed(self) -> String {
        self.to_string().replace(':', "-")
    }

    /// Whether this can be the address of one card: neither all zeros nor a group address (IEEE 802, lowest bit
    /// of the first byte).
    pub fn is_card(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.chars().take(32).collect());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            Err(bad())
        } else {
            Ok(Self(bytes))
        }
    }
}

impl TryFrom<String> for Mac {
    type Error = BadMac;

    fn try_from(text: String) -> Result<Self, BadMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn is_read_in_every_common_notation() {
        let mac = Mac([0x52, 0x54, 0, 0x77, 0, 0xab]);
        for text in ["52:54:00:77:00:ab", "52-54-00-77-00-AB"] {
            assert_eq!(text.parse::<Mac>().unwrap(), mac);
        }
        assert_eq!(mac.to_string(), "52:54:00:77:00:ab");
        assert_eq!(mac.dashed(), "52-54-00-77-00-ab");
    }

    #[test]
    fn nothing_else_is_read() {
        for text in [
            "",
            "52:54:00:77:00",
            "52:54:00:77:00:01:02",
            "+2:54:00:77:00:01",
            "525400770001",
            "é:54:00:77:00:1",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
