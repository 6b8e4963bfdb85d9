// SPDX-License-Identifier: Apache-2.0
//! Boot scripts for GRUB, a struct a template: what machines with Secure Boot get, whose firmware starts nothing else.
//!
//! Debian's GRUB for the network asks for [`FIRST`] wherever it came from, by TFTP or by the HTTP of the firmware. That
//! script is the same for all and asks for the machine's own at [`SCRIPT_PATH`], for ever. What it names is found under
//! the same path by TFTP and by HTTP, so that no script needs to know how it came.

use std::net::Ipv4Addr;

use askama::Template;

use crate::Mac;
use crate::argument::Argument;
use crate::home::Home;
use crate::ipxe::{Text, Word};

/// The script that GRUB asks for first.
pub const FIRST: &str = "/grub/grub.cfg";
/// Path of a machine's script; the query says who asks.
pub const SCRIPT_PATH: &str = "/boot/grub";

/// Letters of a UUID.
const UUID: usize = 36;

/// Who asks for a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The card that GRUB came over.
    pub mac: Option<Mac>,
    /// SMBIOS's UUID, as GRUB printed it.
    pub uuid: Option<&'a str>,
    /// Whether Secure Boot is on.
    pub secure_boot: bool,
    /// What was chosen in the menu of an unknown machine, one word.
    pub choice: Option<&'a str>,
    /// Whether its loader has looked for its own system on all disks in vain.
    pub not_found: bool,
}

/// What every machine's GRUB reads first: it asks for the machine's own script until there is one.
#[derive(Clone, Debug, Template)]
#[template(path = "first.grub", escape = "none")]
struct First;

/// Start the RAM environment.
#[derive(Clone, Debug, Template)]
#[template(path = "discover.grub", escape = "none")]
pub struct Discover {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// Path of the kernel on the server.
    pub kernel: Word,
    /// Path of the initramfs.
    pub initrd: Word,
    /// The kernel's command line, after `rdinit=` and before `BOOTIF=`.
    pub arguments: Vec<Argument>,
}

/// Start a distribution's own installer.
#[derive(Clone, Debug, Template)]
#[template(path = "install.grub", escape = "none")]
pub struct Install {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// What is installed, for the screen.
    pub system: Text,
    /// Path of the kernel on the server.
    pub kernel: Word,
    /// Path of the initramfs.
    pub initrd: Word,
    /// The kernel's command line.
    pub arguments: Vec<Argument>,
}

/// Start the local disk.
#[derive(Clone, Debug, Template)]
#[template(path = "local-disk.grub", escape = "none")]
pub struct LocalDisk {
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// Which system is to start.
    pub home: Home,
    /// Whether to go back to the firmware at once, instead of starting the disk's own loader.
    pub exit: bool,
}

/// Ask who stands before an unknown machine whether it may join; its own disk is next if nobody presses a key.
#[derive(Clone, Debug, Template)]
#[template(path = "ask.grub", escape = "none")]
pub struct Ask {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// Seconds until it goes on to its own disk.
    pub wait: u32,
}

/// Say why this machine does not go on, wait, and ask again.
#[derive(Clone, Debug, Template)]
#[template(path = "stop.grub", escape = "none")]
pub struct Stop {
    /// Who the server is, for the screen.
    pub server: Ipv4Addr,
    /// What the server calls this machine, for the screen.
    pub machine: Text,
    /// Why, and what a person can do about it; a line each.
    pub why: Vec<Text>,
    /// Seconds until it asks again.
    pub wait: u32,
}

impl<'a> Asked<'a> {
    /// Understands the path that a machine's script is asked for by, with or without a slash in front; `None` if it
    /// is another file's.
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let query = path.strip_prefix(&SCRIPT_PATH[1..])?.strip_prefix('?')?;
        let mut asked = Self::default();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "mac" => asked.mac = value.parse().ok().filter(|mac: &Mac| mac.is_card()),
                "uuid" => asked.uuid = Some(value).filter(|uuid| uuid.len() == UUID),
                "secure" => asked.secure_boot = value == "y",
                "choice" => asked.choice = Some(value),
                "found" => asked.not_found = value == "no",
                _ => {}
            }
        }
        Some(asked)
    }
}

/// The script behind [`FIRST`].
pub fn first() -> String {
    render(&First)
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

/// See [`crate::ipxe`]: no template of ours fails, and the script for the impossible case keeps the machine visible.
fn render(template: &impl Template) -> String {
    let script = template.render();
    script.map_or_else(
        |error| format!("set told=y\necho \"{}\"\nsleep 60\n", Text::new(&error.to_string())),
        |script| script + "\n",
    )
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

    fn stop(machine: &str, why: &str) -> Stop {
        Stop {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new(machine),
            why: Text::folded(why, 5),
            wait: 30,
        }
    }

    #[test]
    fn the_first_script_asks_for_the_machines_own_for_ever() {
        expect_file!["testdata/first.grub"].assert_eq(&first());
        assert!(first().contains(SCRIPT_PATH));
    }

    #[test]
    fn discover_starts_the_ram_environment() {
        let script = Discover {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("node-01"),
            kernel: word("/ram/1/vmlinuz"),
            initrd: word("/ram/1/initrd"),
            arguments: Argument::several("gleaner.controller=10.77.0.1:8443 gleaner.pin=ab console=tty0").unwrap(),
        };
        expect_file!["testdata/discover.grub"].assert_eq(&script.render());
    }

    #[test]
    fn install_starts_the_distributions_own_installer_with_its_semicolons_in_quotes() {
        let arguments = ["auto=true", "ds=nocloud;s=http://10.77.0.1:8080/install/4f1c/"];
        let script = Install {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("node-01"),
            system: Text::new("ubuntu-24.04"),
            kernel: word("/media/1f/casper/vmlinuz"),
            initrd: word("/media/1f/casper/initrd"),
            arguments: arguments.map(|text| Argument::new(text).unwrap()).to_vec(),
        };
        expect_file!["testdata/install.grub"].assert_eq(&script.render());
    }

    fn local_disk(home: Home, exit: bool) -> String {
        let machine = Text::new("node-01");
        LocalDisk { machine, home, exit }.render()
    }

    #[test]
    fn a_node_starts_the_disk_with_its_mark_and_tells_where_there_is_none() {
        let own = Home::Own(vec![Mark::Named("0123456789abcdef".into()), Mark::Unmarked]);
        let script = local_disk(own.clone(), false);
        expect_file!["testdata/local-disk.grub"].assert_eq(&script);
        assert!(script.contains("found=no"));
        assert!(!local_disk(own, true).contains("chainloader"));
    }

    #[test]
    fn a_machine_that_is_no_node_starts_what_it_has_and_tells_nothing() {
        let script = local_disk(Home::Any, false);
        assert!(script.contains("set home=\"any\"\n"), "{script}");
        assert!(!script.contains("found=no"));
    }

    #[test]
    fn ask_goes_on_to_the_disk_unless_a_key_is_pressed() {
        let script = Ask {
            server: Ipv4Addr::new(10, 77, 0, 1),
            machine: Text::new("52:54:00:77:00:01"),
            wait: 10,
        };
        expect_file!["testdata/ask.grub"].assert_eq(&script.render());
    }

    #[test]
    fn stop_says_why_and_asks_again() {
        let why = "the disk sda is too small (4 GB, the image needs 8 GB); put a larger one in, then approve again";
        expect_file!["testdata/stop.grub"].assert_eq(&stop("node-01", why).render());
    }

    #[test]
    fn both_grubs_of_ours_look_for_the_same_systems() {
        let other = include_str!("../../images/recipes/local.cfg");
        for shared in [
            include_str!("../templates/find-home.grub"),
            include_str!("../templates/start-efi.grub"),
        ] {
            assert!(other.contains(shared), "this is not in local.cfg:\n{shared}");
            assert!(local_disk(Home::Any, false).contains(shared.trim_end()));
        }
        assert!(
            Home::place(other.as_bytes()).is_some(),
            "the server finds the line to fill in"
        );
    }

    #[test]
    fn who_asks_is_in_the_name() {
        let name =
            "/boot/grub?mac=52:54:00:77:00:01&uuid=6c616230-7777-4000-8000-000000000001&secure=y&choice=disk&found=no";
        assert_eq!(
            Asked::parse(name),
            Some(Asked {
                mac: Some(Mac([0x52, 0x54, 0, 0x77, 0, 1])),
                uuid: Some("6c616230-7777-4000-8000-000000000001"),
                secure_boot: true,
                choice: Some("disk"),
                not_found: true,
            })
        );
        assert_eq!(Asked::parse(&name[1..]), Asked::parse(name));
        assert_eq!(Asked::parse("/boot/grub?mac=&uuid=&secure="), Some(Asked::default()));
        for other in ["/boot/grub", "/boot/grub/x", "/grub/grub.cfg", ""] {
            assert_eq!(Asked::parse(other), None);
        }
    }

    proptest! {
        #[test]
        fn no_text_adds_a_command(name in any::<String>(), why in any::<String>()) {
            let script = stop(&name, &why).render();
            let lines = Text::folded(&why, 5).len();
            prop_assert_eq!(script.lines().count(), stop("x", "").render().lines().count() + lines);
            // In double quotes these have a meaning to GRUB, and a quote of its own would end them.
            prop_assert_eq!(script.matches(['$', '\\', '`']).count(), 0);
            prop_assert_eq!(script.matches('"').count(), stop("x", "").render().matches('"').count() + 2 * lines);
        }

        #[test]
        fn no_name_panics(name in ".{0,200}") {
            let _ = Asked::parse(&name);
            let _ = Asked::parse(&format!("{SCRIPT_PATH}?{name}"));
        }

        #[test]
        fn no_word_ends_its_quotes(text in any::<String>()) {
            if let Ok(word) = Word::new(text) {
                prop_assert!(!word.as_str().contains('\''));
            }
        }
    }
}
