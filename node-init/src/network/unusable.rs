// SPDX-License-Identifier: Apache-2.0
//! Cards that the kernel cannot bring up, and why: that is not the cable, and no other cable helps.

use std::fmt;

use provisioner_api::Nic;

use super::cards::is_card_address;

/// A card that the kernel could not bring up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    name: String,
    mac: String,
    driver: Option<String>,
    error: String,
    firmware: Vec<String>,
}

impl Unusable {
    /// This card, what the kernel said, and what it has logged.
    pub fn new(card: &Nic, error: &anyhow::Error, log: &str) -> Self {
        Self {
            name: card.name.clone(),
            mac: card.mac.clone(),
            driver: card.driver.clone(),
            error: error.root_cause().to_string(),
            firmware: kernel_log::missing_firmware(log),
        }
    }

    /// Kernel name of the card.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            mac,
            driver,
            error,
            firmware,
        } = self;
        write!(f, "{name} ({mac}) cannot be brought up: {error}")?;
        if !is_card_address(mac) {
            return f.write_str(": no card can have this address, so its memory is damaged; use another card");
        }
        if !firmware.is_empty() {
            let driver = driver.as_deref().unwrap_or("its driver");
            return write!(
                f,
                ": {driver} misses the firmware {}; add the package with it to the RAM environment, or use another card",
                firmware.join(", ")
            );
        }
        f.write_str("; this is not its cable: use another card, or one with another driver")
    }
}

/// What the kernel has said since it started.
pub mod kernel_log {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use nix::fcntl::OFlag;

    /// Bytes of a message at most (`PRINTK_MESSAGE_MAX`, linux/kernel/printk).
    const MESSAGE: usize = 8192;
    /// Messages that are read at most; a kernel keeps fewer.
    const MESSAGES: usize = 20_000;

    /// All messages, a line each; empty where they cannot be read.
    pub fn read(root: &Path) -> String {
        let options = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(root.join("dev/kmsg"));
        let Ok(mut log) = options else { return String::new() };
        let mut text = String::new();
        let mut message = vec![0; MESSAGE];
        // Each read is one message; the error at the end says that there is no more yet.
        for _ in 0..MESSAGES {
            match log.read(&mut message) {
                Ok(length @ 1..) => text.push_str(&String::from_utf8_lossy(&message[..length])),
                // EPIPE: messages were overwritten before they were read; what is left follows.
                Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
                Ok(_) | Err(_) => break,
            }
        }
        text
    }

    /// Files of firmware that drivers asked for in vain.
    pub fn missing_firmware(log: &str) -> Vec<String> {
        // `r8169 0000:01:00.0: firmware: failed to load rtl_nic/rtl8168g-2.fw (-2)`, `Direct firmware load for X failed`
        let named = |line: &str| {
            let behind = |mark: &str| line.split_once(mark).map(|(_, rest)| rest);
            let rest = behind("firmware: failed to load ").or_else(|| behind("Direct firmware load for "))?;
            let file = rest.split_whitespace().next()?;
            let is_path = file
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte));
            (is_path && file.len() < 128).then(|| file.to_owned())
        };
        let mut files: Vec<String> = log.lines().filter_map(named).collect();
        files.sort();
        files.dedup();
        files.truncate(4);
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(mac: &str) -> Nic {
        Nic {
            name: "eth0".into(),
            mac: mac.into(),
            driver: Some("r8169".into()),
            ..Nic::default()
        }
    }

    fn said(mac: &str, errno: i32, log: &str) -> String {
        let error = anyhow::Error::new(std::io::Error::from_raw_os_error(errno)).context("bringing up eth0");
        Unusable::new(&card(mac), &error, log).to_string()
    }

    #[test]
    fn a_card_with_a_garbage_address_is_not_taken_for_one_without_a_cable() {
        for mac in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"] {
            let text = said(mac, nix::libc::EADDRNOTAVAIL, "");
            assert!(
                text.contains(mac) && text.contains("no card can have this address"),
                "{text}"
            );
            assert!(text.contains("Cannot assign requested address"), "{text}");
        }
    }

    #[test]
    fn a_card_without_its_firmware_names_the_file() {
        let log = "4,1,2,-;r8169 0000:01:00.0: firmware: failed to load rtl_nic/rtl8168g-2.fw (-2)\n\
                   4,1,2,-;bnx2 0000:02:00.0: Direct firmware load for bnx2/bnx2-mips-09-6.2.1b.fw failed with error -2\n";
        let text = said("52:54:00:00:00:01", nix::libc::ENOENT, log);
        assert!(
            text.contains("rtl_nic/rtl8168g-2.fw") && text.contains("bnx2/bnx2-mips-09-6.2.1b.fw"),
            "{text}"
        );
        let text = said("52:54:00:00:00:01", nix::libc::EIO, "nothing about it");
        assert!(text.contains("not its cable"), "{text}");
    }

    #[test]
    fn no_kernel_log_is_no_error() {
        let root = tempfile::tempdir().map(|folder| kernel_log::read(folder.path()));
        assert!(root.is_ok_and(|text| text.is_empty()));
    }
}
