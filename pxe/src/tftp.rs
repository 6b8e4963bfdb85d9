// SPDX-License-Identifier: Apache-2.0
//! TFTP on the wire (RFC 1350) with its options (RFC 2347, 2348, 2349, 7440).
//!
//! [`ReadRequest`] is the first packet of a client; [`transfer`] is everything after it, as a state machine without
//! socket or clock. There are only reads here: a write is an error by its type.

pub mod transfer;

/// Longest name that a request may have. The longest that we serve has 16 characters; PXE's own limit is 128.
const NAME: usize = 512;
/// Bytes of a refused name that are worth showing.
const SHOWN: usize = 100;

/// The error codes of RFC 1350 and 2347.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorCode {
    /// See the message.
    Undefined = 0,
    /// There is no such file.
    NotFound = 1,
    /// There is, or may be, but not for you.
    AccessViolation = 2,
    /// This is not TFTP, or not the part of it that we speak.
    IllegalOperation = 4,
    /// The options cannot be agreed on.
    Options = 8,
}

/// A client wants a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Its name, exactly as sent.
    pub file: String,
    /// What the client proposes.
    pub options: Options,
}

/// What a client proposes; `None` where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes a block (RFC 2348).
    pub block_size: Option<u16>,
    /// Seconds until something is sent again (RFC 2349).
    pub timeout: Option<u8>,
    /// Whether it wants to know the size of the file (RFC 2349).
    pub size: bool,
    /// Blocks an acknowledgement (RFC 7440).
    pub window: Option<u16>,
}

/// Why a first packet starts no transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not TFTP. Answering could start a ping-pong with somebody's echo service.
    #[error("not a TFTP request")]
    NotTftp,
    /// Well-formed, but of another transfer; nobody waits for an answer.
    #[error("a packet of a transfer that is over")]
    Stray,
    /// This server is only read from.
    #[error("writing is not allowed")]
    Write,
    /// Only `octet` (and, for what it is worth to binary files, `netascii` is not it).
    #[error("only mode octet is served")]
    Mode,
    /// A name that is no name of a file.
    #[error("the file name is malformed")]
    Name,
}

impl BadRequest {
    /// The error packet that the client is to get, if any.
    pub fn answer(self) -> Option<Vec<u8>> {
        let code = match self {
            Self::NotTftp | Self::Stray => return None,
            Self::Write | Self::Name => ErrorCode::AccessViolation,
            Self::Mode => ErrorCode::IllegalOperation,
        };
        Some(error_packet(code, &self.to_string()))
    }

    /// One word, for a counter's label.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotTftp => "not-tftp",
            Self::Stray => "stray",
            Self::Write => "write",
            Self::Mode => "mode",
            Self::Name => "name",
        }
    }
}

impl ReadRequest {
    /// Reads a packet that came to the server's port.
    pub fn parse(packet: &[u8]) -> Result<Self, BadRequest> {
        let body = match packet {
            [0, 1, body @ ..] => body,
            [0, 2, ..] => return Err(BadRequest::Write),
            [0, 3..=6, ..] => return Err(BadRequest::Stray),
            _ => return Err(BadRequest::NotTftp),
        };
        let mut strings = Strings(body);
        let (file, mode) = (
            strings.next().ok_or(BadRequest::NotTftp)?,
            strings.next().ok_or(BadRequest::NotTftp)?,
        );
        if !mode.eq_ignore_ascii_case(b"octet") {
            return Err(BadRequest::Mode);
        }
        if file.is_empty() || file.len() > NAME || file.iter().any(u8::is_ascii_control) {
            return Err(BadRequest::Name);
        }
        let file = String::from_utf8(file.to_vec()).map_err(|_| BadRequest::Name)?;
        let mut options = Options::default();
        while let (Some(name), Some(value)) = (strings.next(), strings.next()) {
            options.read(name, value);
        }
        Ok(Self { file, options })
    }

    /// The name as a path below the served folder, whichever slashes the client put before it; `None` if it could
    /// point anywhere else.
    pub fn path(&self) -> Option<&str> {
        // UEFI writes backslashes, and some ROMs begin with the root folder.
        let path = self.file.trim_start_matches(['/', '\\']);
        let path = path.strip_prefix("./").unwrap_or(path);
        // What stands behind a question mark says who asks.
        let name = path.split('?').next().unwrap_or(path);
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        (name.split('/').all(plain) && !name.contains(['\\', ':'])).then_some(path)
    }
}

impl Options {
    /// RFC 2347: "options [...] that the server does not support [...] the server simply ignores", and of one that
    /// comes twice the first counts.
    fn read(&mut self, name: &[u8], value: &[u8]) {
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("blksize") && self.block_size.is_none() {
            // RFC 2348: "Valid values range between 8 and 65464 octets, inclusive."
            self.block_size = number()
                .and_then(|n| u16::try_from(n).ok())
                .filter(|n| (8..=65464).contains(n));
        } else if is("timeout") && self.timeout.is_none() {
            // RFC 2349: "Values range from 1 to 255 seconds, inclusive."
            self.timeout = number().and_then(|n| u8::try_from(n).ok()).filter(|&n| n > 0);
        } else if is("tsize") {
            self.size = number().is_some();
        } else if is("windowsize") && self.window.is_none() {
            // RFC 7440: "The valid values range must be between 1 and 65535 blocks, inclusive."
            self.window = number().and_then(|n| u16::try_from(n).ok()).filter(|&n| n > 0);
        }
    }
}

/// The name in a request that was refused, for a person: what is no plain text is escaped, and a long one is cut. `None`
/// where the packet asks for no file.
pub fn refused_name(packet: &[u8]) -> Option<String> {
    let [0, 1 | 2, body @ ..] = packet else { return None };
    let name = Strings(body).next()?;
    Some(name[..name.len().min(SHOWN)].escape_ascii().to_string())
}

/// Strings that end with a zero each. One that does not end is none.
struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let (string, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(string)
    }
}

/// An error packet.
pub fn error_packet(code: ErrorCode, message: &str) -> Vec<u8> {
    let mut packet = vec![0, 5];
    packet.extend((code as u16).to_be_bytes());
    packet.extend(message.bytes().filter(|byte| *byte != 0));
    packet.push(0);
    packet
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_of_real_firmware_are_understood() {
        // EDK2 2022.11, then Debian 13's iPXE, then a ROM of 512-byte blocks only.
        let edk2 = b"\0\x01ipxe.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0";
        let options = Options {
            block_size: Some(1468),
            timeout: None,
            size: true,
            window: Some(4),
        };
        assert_eq!(
            ReadRequest::parse(edk2).unwrap(),
            ReadRequest {
                file: "ipxe.efi".into(),
                options
            }
        );
        let ipxe = ReadRequest::parse(b"\0\x01autoexec.ipxe\0octet\0blksize\x001432\0tsize\x000\0").unwrap();
        assert_eq!(
            ipxe.options,
            Options {
                block_size: Some(1432),
                size: true,
                ..Options::default()
            }
        );
        let plain = ReadRequest::parse(b"\0\x01/undionly.kpxe\0OCTET\0").unwrap();
        assert_eq!(plain.options, Options::default());
        assert_eq!(plain.path(), Some("undionly.kpxe"));
    }

    #[test]
    fn values_out_of_range_are_as_if_not_proposed() {
        let request = |options: &str| {
            let packet = format!("\0\x01f\0octet\0{}", options.replace(' ', "\0") + "\0");
            ReadRequest::parse(packet.as_bytes()).unwrap().options
        };
        for absurd in [
            "blksize 7",
            "blksize 65465",
            "blksize -1",
            "blksize 99999999999999999999",
            "timeout 0",
            "timeout 256",
            "windowsize 0",
            "windowsize 65536",
            "unknown 1",
            "blksize",
        ] {
            assert_eq!(request(absurd), Options::default(), "{absurd}");
        }
        assert_eq!(request("BlkSize 8 blksize 9").block_size, Some(8));
    }

    #[test]
    fn only_reads_in_octet_mode_are_served() {
        assert_eq!(ReadRequest::parse(b"\0\x02f\0octet\0"), Err(BadRequest::Write));
        assert_eq!(ReadRequest::parse(b"\0\x01f\0netascii\0"), Err(BadRequest::Mode));
        assert_eq!(ReadRequest::parse(b"\0\x01\0octet\0"), Err(BadRequest::Name));
        assert_eq!(ReadRequest::parse(b"\0\x01a\nb\0octet\0"), Err(BadRequest::Name));
        assert_eq!(ReadRequest::parse(b"\0\x01\xff\0octet\0"), Err(BadRequest::Name));
        assert_eq!(ReadRequest::parse(b"\0\x04\0\x01"), Err(BadRequest::Stray));
        assert_eq!(ReadRequest::parse(b"hello"), Err(BadRequest::NotTftp));
        assert_eq!(ReadRequest::parse(b"\0\x01f\0octet"), Err(BadRequest::NotTftp));
        assert_eq!(BadRequest::NotTftp.answer(), None, "no ping-pong with echo services");
    }

    #[test]
    fn a_refused_name_is_shown_as_plain_text() {
        let shown = |packet: &[u8]| refused_name(packet);
        let tail = b"\0\x01undionly.kpxea\x11\0octet\0tsize\x000\0";
        assert_eq!(ReadRequest::parse(tail), Err(BadRequest::Name));
        assert_eq!(shown(tail).unwrap(), "undionly.kpxea\\x11");
        assert_eq!(
            shown(b"\0\x01undionly.kpxe\xff\0octet\0").unwrap(),
            "undionly.kpxe\\xff"
        );
        assert_eq!(shown(b"\0\x02upload\0octet\0").unwrap(), "upload");
        assert_eq!(shown(b"\0\x01never ends"), None);
        assert_eq!(shown(b"\0\x04\0\x01"), None);
        let long = [b"\0\x01", &[b'\x1b'; 600][..], b"\0octet\0"].concat();
        assert_eq!(shown(&long).unwrap(), "\\x1b".repeat(SHOWN));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for outside in [
            "../etc/passwd",
            "/../x",
            "a/../../b",
            "..\\x",
            "..",
            ".",
            "/",
            ".hidden",
            "a/./b",
            "a//b",
            "a/.ssh",
            "C:x",
        ] {
            let request = ReadRequest {
                file: outside.into(),
                options: Options::default(),
            };
            assert_eq!(request.path(), None, "{outside}");
        }
        for inside in ["ipxe.efi", "/ipxe.efi", "\\ipxe.efi", "./ipxe.efi", "//ipxe.efi"] {
            let request = ReadRequest {
                file: inside.into(),
                options: Options::default(),
            };
            assert_eq!(request.path(), Some("ipxe.efi"), "{inside}");
        }
        let script = ReadRequest {
            file: "/boot/grub?mac=52:54:00:77:00:01&uuid=../x".into(),
            options: Options::default(),
        };
        assert_eq!(script.path(), Some("boot/grub?mac=52:54:00:77:00:01&uuid=../x"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), start in 0..8u8) {
            bytes.splice(0..0, [0, start]);
            if let Ok(request) = ReadRequest::parse(&bytes) {
                prop_assert!(request.path().is_none_or(|path| !path.starts_with(['/', '.', '\\']) && !path.split('?').next().unwrap().contains("..\\")));
            } else if let Err(bad) = ReadRequest::parse(&bytes) {
                prop_assert!(bad.answer().is_none_or(|packet| packet.len() < 100));
            }
        }
    }
}
