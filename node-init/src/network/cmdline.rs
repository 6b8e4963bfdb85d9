// SPDX-License-Identifier: Apache-2.0
//! What the boot script wrote onto the kernel's command line.

use provisioner_api::cmdline;

use crate::client::Pin;

/// What node-init wants to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `HOST:PORT` of the controller.
    pub controller: Option<String>,
    /// The controller's key.
    pub pin: Option<Pin>,
    /// Address of the card that booted, lower case with colons.
    pub booted: Option<String>,
    /// Serial lines that the kernel writes to, by device name.
    pub serial: Vec<String>,
}

/// Reads it word by word; of a word that comes twice the last one counts, as the kernel has it.
pub fn parse(line: &str) -> CommandLine {
    let mut found = CommandLine::default();
    for (key, value) in line.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
        match key {
            cmdline::CONTROLLER if !value.is_empty() => found.controller = Some(value.to_owned()),
            cmdline::PIN => found.pin = value.parse().ok().or(found.pin),
            cmdline::BOOTIF => found.booted = bootif(value).or(found.booted),
            "console" if value.starts_with("ttyS") => {
                let device = value.split(',').next().unwrap_or(value).to_owned();
                if device["ttyS".len()..].bytes().all(|b| b.is_ascii_digit()) && !found.serial.contains(&device) {
                    found.serial.push(device);
                }
            }
            _ => {}
        }
    }
    found
}

/// PXELINUX's notation: hardware type, then the address, all with dashes. iPXE's `${netX/mac:hexhyp}` comes without
/// the type where a script left it out.
fn bootif(value: &str) -> Option<String> {
    let octets: Vec<&str> = value.split(['-', ':']).collect();
    let octets = match &octets[..] {
        ["01", mac @ ..] if mac.len() == 6 => mac,
        mac => mac,
    };
    if octets.len() != 6 {
        return None;
    }
    let hex = octets
        .iter()
        .all(|o| o.len() == 2 && o.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.then(|| octets.join(":").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_boot_script_of_ours_is_understood() {
        let pin = "ab".repeat(32);
        let found = parse(&format!(
            "initrd=initrd rdinit=/init gleaner.controller=10.77.0.1:8443 gleaner.pin={pin} \
             BOOTIF=01-52-54-00-AA-00-01 console=ttyS0,115200 console=tty0 loglevel=4\n"
        ));
        assert_eq!(found.controller.as_deref(), Some("10.77.0.1:8443"));
        assert_eq!(found.pin, pin.parse().ok());
        assert_eq!(found.booted.as_deref(), Some("52:54:00:aa:00:01"));
        assert_eq!(found.serial, ["ttyS0"]);
    }

    #[test]
    fn a_card_without_type_is_a_card_and_nonsense_is_none() {
        assert_eq!(bootif("52-54-00-aa-00-01").as_deref(), Some("52:54:00:aa:00:01"));
        for nonsense in [
            "",
            "01",
            "52-54-00-aa-00",
            "zz-54-00-aa-00-01",
            "01-01-52-54-00-aa-00-01",
        ] {
            assert_eq!(bootif(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn no_command_line_is_too_strange_to_read(line in "\\PC{0,200}") {
            parse(&line);
            parse(&format!("BOOTIF={line} console=ttyS{line} gleaner.pin={line}"));
        }
    }
}
