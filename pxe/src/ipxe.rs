// SPDX-License-Identifier: Apache-2.0
//! Boot scripts for iPXE, a struct a template.
//!
//! The templates lie in `templates/`, one command a line. Whatever goes into one is a [`Word`] or a [`Text`], and
//! neither can hold what iPXE would take for a command: a host name with a line break in it stays a host name.

use std::fmt;
use std::net::Ipv4Addr;

use askama::Template;

use crate::Mac;
use crate::argument::Argument;
use crate::home::Home;

/// One word of a command: no blank, no line break, nothing that iPXE expands or takes for the end of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(String);

/// This is not one word of an iPXE command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be a word of a boot script: letters, digits and ._:/?&=+,@%~*-[]! only")]
pub struct Unfit(pub String);

/// Words for a person, in one line; what iPXE would read as a command is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

/// Start the RAM environment.
#[derive(Clone, Debug, Template)]
#[template(path = "discover.ipxe", escape = "none")]
pub struct Discover {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// URL of the kernel.
    pub kernel: Word,
    /// URL of the initramfs.
    pub initrd: Word,
    /// The card that really booted, as `BOOTIF=` tells the system; iPXE's word for it where the server was not told.
    pub mac: Option<Mac>,
    /// The kernel's command line, after `initrd=` and `rdinit=` and before `BOOTIF=`.
    pub arguments: Vec<Argument>,
    /// URL of this script, to ask again when the files cannot be had.
    pub script: Word,
}

/// Start a distribution's own installer.
#[derive(Clone, Debug, Template)]
#[template(path = "install.ipxe", escape = "none")]
pub struct Install {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// What is installed, for the screen.
    pub system: Text,
    /// URL of the kernel.
    pub kernel: Word,
    /// URL of the initramfs.
    pub initrd: Word,
    /// The kernel's command line, after `initrd=`.
    pub arguments: Vec<Argument>,
    /// URL of this script, to ask again when the files cannot be had.
    pub script: Word,
}

/// Start the local disk.
#[derive(Clone, Debug, Template)]
#[template(path = "local-disk.ipxe", escape = "none")]
pub struct LocalDisk {
    /// Who the server is: GRUB under BIOS asks it.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// Which system is to start.
    pub home: Home,
    /// URL of [`crate::bootfile::LOCAL_GRUB_BIOS`].
    pub bios_grub: Word,
    /// URL of [`crate::bootfile::LOCAL_GRUB`].
    pub uefi_grub: Word,
    /// The ways to it under BIOS, the one to try first first.
    pub bios: Vec<Way>,
    /// The ways to it under UEFI.
    pub uefi: Vec<Way>,
    /// URL of this script, to tell that the system was not found, or to ask again.
    pub script: Word,
}

/// A way from iPXE to the machine's own disk. None works on every board, and a loader cannot see whether one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// A small GRUB finds the disk with the right system.
    Chain,
    /// Back to the firmware, which goes on to its next boot device: whether that is the right disk, nobody checks.
    Exit,
}

impl Way {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Chain, Self::Exit];

    /// One word, for the record.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Exit => "exit",
        }
    }
}

/// Ask who stands before an unknown machine whether it may join; its own disk is next if nobody presses a key.
#[derive(Clone, Debug, Template)]
#[template(path = "ask.ipxe", escape = "none")]
pub struct Ask {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// Seconds until it goes on to its own disk.
    pub wait: u32,
    /// URL of the script that starts its own disk.
    pub disk: Word,
    /// URL of the script that lets it join.
    pub join: Word,
}

/// Say why this machine does not go on, wait, and ask again.
#[derive(Clone, Debug, Template)]
#[template(path = "stop.ipxe", escape = "none")]
pub struct Stop {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// Why, and what a person can do about it; a line each.
    pub why: Vec<Text>,
    /// Seconds until it asks again.
    pub wait: u32,
    /// URL of this script.
    pub script: Word,
}

/// Find the server and fetch the boot script, for ever: links that come up late and servers that restart are
/// normal, and the first card that gets an address need not be the one on our network. What iPXE finds beside its own
/// file (`autoexec.ipxe`).
#[derive(Clone, Debug, Template)]
#[template(path = "autoexec.ipxe", escape = "none")]
struct Autoexec {
    script: String,
}

impl Word {
    /// Takes text that is one word.
    pub fn new(text: impl Into<String>) -> Result<Self, Unfit> {
        let text = text.into();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/?&=+,@%~*-[]!".contains(&byte);
        // A word that begins with a dash would be an option of the command, and one of signs only a separator.
        let begins = text
            .as_bytes()
            .first()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'/');
        if begins && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(Unfit(text))
        }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text {
    /// Takes any text; at most 75 characters of it, so that it stays one line of a text screen.
    pub fn new(text: &str) -> Self {
        // `echo -x` is a wrong option to iPXE, and a command that fails ends the script.
        Self(
            text.trim_start_matches(['-', ' '])
                .chars()
                .map(printable)
                .take(75)
                .collect(),
        )
    }

    /// Takes any text, folded at blanks into lines that fit a text screen; at most `lines` of them.
    pub fn folded(text: &str, lines: usize) -> Vec<Self> {
        let mut folded: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            match folded.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= 70 => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => folded.push(word.to_owned()),
            }
        }
        folded.iter().take(lines).map(|line| Self::new(line)).collect()
    }
}

/// iPXE expands `${…}`, ends commands at `;`, `&&` and `||`, takes `#` for a comment, and shows ASCII only.
fn printable(c: char) -> char {
    match c {
        c if c.is_ascii_alphanumeric() || ".,:()/_+=-@!?%*[]".contains(c) => c,
        ';' => ',',
        '"' | '\'' | '`' => '\'',
        c if c.is_whitespace() => ' ',
        _ => '?',
    }
}

impl Discover {
    /// The script.
    pub fn render(&self) -> String {
        render(self)
    }
}

impl Install {
    /// The script.
    pub fn render(&self) -> String {
        render(self)
    }
}

impl LocalDisk {
    /// Whether it is to be a system of ours, and no other.
    fn own(&self) -> bool {
        self.home != Home::Any
    }

    /// The script.
    pub fn render(&self) -> String {
        render(self)
    }
}

impl Ask {
    /// The script.
    pub fn render(&self) -> String {
        render(self)
    }
}

impl Stop {
    /// The script.
    pub fn render(&self) -> String {
        render(self)
    }
}

/// The script that iPXE finds beside its own file; it asks for the boot script of `server`.
pub fn autoexec(server: &crate::bootfile::Server) -> String {
    render(&Autoexec {
        script: server.script_url_by_ipxe(),
    })
}

/// A template of ours fails only where a value's `Display` does, and none of these types does that. The script for
/// the impossible case keeps the machine alive and visible instead of crashing the server.
fn render(template: &impl Template) -> String {
    let script = template.render();
    script.map_or_else(
        |error| format!("#!ipxe\necho {}\nsleep 60\nreboot\n", Text::new(&error.to_string())),
        |script| script + "\n",
    )
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::home::Mark;
    use expect_test::expect_file;
    use proptest::prelude::*;

    fn word(text: &str) -> Word {
        Word::new(text).unwrap()
    }

    const SCRIPT: &str = "http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01";

    fn discover(mac: Option<Mac>) -> Discover {
        Discover {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("node-01"),
            kernel: word("http://10.77.0.1:8080/ram/1/vmlinuz"),
            initrd: word("http://10.77.0.1:8080/ram/1/initrd"),
            mac,
            arguments: Argument::several("gleaner.controller=10.77.0.1:8443 gleaner.pin=ab console=tty0").unwrap(),
            script: word(SCRIPT),
        }
    }

    #[test]
    fn discover_starts_the_ram_environment() {
        let mac = Some(Mac([0x52, 0x54, 0, 0x77, 0, 1]));
        expect_file!["testdata/discover.ipxe"].assert_eq(&discover(mac).render());
        assert!(discover(None).render().contains("BOOTIF=01-${netX/mac:hexhyp}"));
    }

    #[test]
    fn install_starts_the_distributions_own_installer() {
        let arguments = ["auto=true", "ds=nocloud;s=http://10.77.0.1:8080/install/4f1c/"];
        let script = Install {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("node-01"),
            system: Text::new("ubuntu-24.04"),
            kernel: word("http://10.77.0.1:8080/media/1f/casper/vmlinuz"),
            initrd: word("http://10.77.0.1:8080/media/1f/casper/initrd"),
            arguments: arguments.map(|text| Argument::new(text).unwrap()).to_vec(),
            script: word(SCRIPT),
        };
        expect_file!["testdata/install.ipxe"].assert_eq(&script.render());
    }

    fn local_disk(home: Home, bios: &[Way], uefi: &[Way]) -> String {
        let script = LocalDisk {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("node-01"),
            home,
            bios_grub: word("http://10.77.0.1:8080/loaders/local-grub.pxe"),
            uefi_grub: word("http://10.77.0.1:8080/loaders/local-grub.efi"),
            bios: bios.to_vec(),
            uefi: uefi.to_vec(),
            script: word(SCRIPT),
        };
        script.render()
    }

    #[test]
    fn a_node_starts_the_disk_with_its_mark_under_bios_and_uefi() {
        let own = Home::Own(vec![Mark::Named("0123456789abcdef".into())]);
        let script = local_disk(own.clone(), &Way::ALL, &Way::ALL);
        expect_file!["testdata/local-disk.ipxe"].assert_eq(&script);
        // No drive by its number: the first one may be anybody's.
        assert!(!script.contains("sanboot"));
        let unchecked = local_disk(own, &[Way::Exit], &[Way::Exit]);
        expect_file!["testdata/local-disk-unchecked.ipxe"].assert_eq(&unchecked);
    }

    #[test]
    fn a_machine_that_is_no_node_goes_on_as_its_firmware_would() {
        let script = local_disk(Home::Any, &[Way::Exit], &Way::ALL);
        expect_file!["testdata/local-disk-any.ipxe"].assert_eq(&script);
        assert!(!script.contains("found=no"));
    }

    #[test]
    fn ask_goes_on_to_the_disk_unless_somebody_wants_otherwise() {
        let script = Ask {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("52:54:00:77:00:01"),
            wait: 10,
            disk: word(&format!("{SCRIPT}&choice=disk")),
            join: word(&format!("{SCRIPT}&choice=enrol")),
        };
        expect_file!["testdata/ask.ipxe"].assert_eq(&script.render());
    }

    #[test]
    fn stop_says_why_and_asks_again() {
        let why = "the disk sda is too small (4 GB, the image needs 8 GB); put a larger one in, then approve again";
        let script = Stop {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("node-01"),
            why: Text::folded(why, 5),
            wait: 60,
            script: word(SCRIPT),
        };
        expect_file!["testdata/stop.ipxe"].assert_eq(&script.render());
    }

    #[test]
    fn autoexec_finds_the_server_again_and_again() {
        let server = crate::bootfile::Server {
            address: Ipv4Addr::new(10, 77, 0, 1),
            http_port: 8080,
        };
        expect_file!["testdata/autoexec.ipxe"].assert_eq(&autoexec(&server));
    }

    #[test]
    fn what_is_no_word_is_refused() {
        for text in [
            "",
            "a b",
            "a\nb",
            "${net0/mac}",
            "&&",
            "-x",
            "a;b",
            "a#b",
            "a|b",
            "ä",
            "a\"b",
            "a\\b",
        ] {
            assert_eq!(Word::new(text), Err(Unfit(text.into())));
        }
    }

    proptest! {
        #[test]
        fn no_text_adds_a_command(name in any::<String>(), why in any::<String>()) {
            let stop = |machine: &str, why: &str| Stop {
                server: Ipv4Addr::LOCALHOST,
                machine: Text::new(machine),
                why: Text::folded(why, 5),
                wait: 1,
                script: Word::new(SCRIPT).unwrap(),
            };
            let script = stop(&name, &why).render();
            let lines = Text::folded(&why, 5).len();
            prop_assert_eq!(script.lines().count(), stop("x", "").render().lines().count() + lines);
            let dollars = |text: &str| text.matches('$').count();
            prop_assert_eq!(dollars(&script), dollars(&stop("x", "").render()));
            prop_assert!(script.is_ascii());
        }

        #[test]
        fn every_word_stays_one_word(text in any::<String>()) {
            if let Ok(word) = Word::new(text) {
                prop_assert!(word.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!word.as_str().contains(['$', ';', '|', '#', '"', '\'', '\\']));
            }
        }
    }
}
