// SPDX-License-Identifier: Apache-2.0
//! Drivers for what is in the machine, and for what appears in it later.
//!
//! Every device says what it is, in a file `modalias` or, as mmc cards do, in its `uevent` alone; busybox's modprobe
//! knows which module that means. Loading a
//! driver makes new devices appear (disks behind a controller), so it goes on until nothing new does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use std::os::fd::AsRawFd;

use crate::inventory::lldp::Ears;
use crate::inventory::sysfs;
use crate::network::lease;
use crate::screen::Screen;

/// Modules that no device asks for: packet sockets for DHCP and LLDP, the installed system's file system, the
/// register that tells whether VT-x is switched off, hardware virtualization, UEFI's variables.
const ALWAYS: [&str; 6] = ["af_packet", "ext4", "msr", "kvm_intel", "kvm_amd", "efivarfs"];

/// Names in one call of modprobe: well below the kernel's limit for arguments.
const BATCH: usize = 200;

/// Pause between two looks for new devices: disks take their time to answer.
const SETTLE: Duration = Duration::from_millis(300);
/// Looks without anything new before the machine counts as complete.
const QUIET: u32 = 3;
/// Looks at all: a machine full of slow disks goes on without the last of them, which come later by event.
const LOOKS: u32 = 40;

/// How deep device folders are nested at most: USB hubs behind bridges.
const DEEPEST: u32 = 24;

/// Multicast group of the kernel's own events (udev's are another one).
const KERNEL_EVENTS: u32 = 1;

/// Room for a burst of events while modprobe runs.
const EVENT_BUFFER: usize = 1 << 20;

/// Loads a driver for everything that is there.
pub fn load_all(root: &Path, screen: &Screen) {
    screen.stage("Starting", "loading drivers");
    modprobe(&ALWAYS.map(str::to_owned));
    let mut asked = BTreeSet::new();
    let mut quiet = 0;
    for _ in 0..LOOKS {
        let mut found = BTreeSet::new();
        aliases(&root.join("sys/devices"), DEEPEST, &mut found);
        let fresh: Vec<String> = found.difference(&asked).cloned().collect();
        quiet = if fresh.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET {
            break;
        }
        fresh.chunks(BATCH).for_each(modprobe);
        asked.extend(fresh);
        thread::sleep(SETTLE);
    }
    screen.log(&format!("drivers for {} kinds of device were asked for", asked.len()));
}

/// What goes on in the machine while it lives.
#[derive(Clone)]
pub struct Watch {
    changes: Arc<AtomicU64>,
    /// What LLDP said.
    pub ears: Ears,
}

impl Watch {
    /// A number that rises whenever a disk or a card comes or goes.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

/// Loads drivers for devices that appear from now on, brings their cards up, and counts what changes.
pub fn watch(root: &Path, screen: &Screen) -> Watch {
    let watch = Watch {
        changes: Arc::default(),
        ears: Ears::open(root),
    };
    let (mine, root, screen) = (watch.clone(), root.to_path_buf(), screen.clone());
    thread::spawn(move || {
        if let Err(error) = listen(&mine, &root) {
            screen.log(&format!("devices that are plugged in later will not be seen ({error})"));
        }
    });
    watch
}

fn listen(watch: &Watch, root: &Path) -> nix::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        flags,
        SockProtocol::NetlinkKObjectUEvent,
    )?;
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &EVENT_BUFFER);
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_EVENTS))?;
    let mut message = vec![0; 16 * 1024];
    loop {
        match recv(socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(length) => handle(&Event::parse(&message[..length]), watch, root),
            // Events were lost in a burst; what they said is still below /sys.
            Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn handle(event: &Event, watch: &Watch, root: &Path) {
    if event.action == "add"
        && let Some(alias) = &event.modalias
    {
        modprobe(std::slice::from_ref(alias));
    }
    if event.action == "add"
        && let Some(card) = &event.interface
        && root.join("sys/class/net").join(card).join("device").exists()
    {
        let _ = lease::bring_up(card);
        watch.ears.add_card(card, root);
    }
    if event.is_change() {
        watch.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// One of the kernel's events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    action: String,
    subsystem: String,
    kind: String,
    modalias: Option<String>,
    interface: Option<String>,
}

impl Event {
    /// `add@/devices/…`, then `KEY=value` pairs, a zero byte after each.
    fn parse(message: &[u8]) -> Self {
        Self::of_pairs(message.split(|byte| *byte == 0))
    }

    /// The same pairs as a device's `uevent` file has them, a line each.
    fn of_file(text: &[u8]) -> Self {
        Self::of_pairs(text.split(|byte| *byte == b'\n'))
    }

    fn of_pairs<'a>(pairs: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut event = Self::default();
        let words = pairs.filter_map(|word| std::str::from_utf8(word).ok());
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "ACTION" => value.clone_into(&mut event.action),
                "SUBSYSTEM" => value.clone_into(&mut event.subsystem),
                "DEVTYPE" => value.clone_into(&mut event.kind),
                "MODALIAS" => event.modalias = Some(value.to_owned()),
                "INTERFACE" => event.interface = Some(value.to_owned()),
                _ => {}
            }
        }
        event
    }

    /// Whether the inventory is another one now. Partitions come and go with every table that is read.
    fn is_change(&self) -> bool {
        let came_or_went = matches!(self.action.as_str(), "add" | "remove");
        came_or_went && (self.subsystem == "net" || (self.subsystem == "block" && self.kind == "disk"))
    }
}

/// Blocks until the modules are there. Aliases without a module are normal: most are built in or of no use here.
fn modprobe(names: &[String]) {
    let mut command = Command::new("modprobe");
    command
        .args(["-a", "-q", "-b"])
        .args(names)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _ = command.status();
}

fn aliases(folder: &Path, depth: u32, found: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    found.extend(alias(folder));
    for entry in entries.flatten() {
        // Links lead back up; only real folders are gone into.
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            aliases(&entry.path(), depth - 1, found);
        }
    }
}

/// What the device in this folder says that it is.
fn alias(folder: &Path) -> Option<String> {
    let from_event = || Event::of_file(&sysfs::bytes(&folder.join("uevent"))?).modalias;
    let alias = sysfs::text(&folder.join("modalias")).or_else(from_event)?;
    // A name that begins with a dash would be an option of modprobe.
    (!alias.starts_with('-') && !alias.contains(char::is_control)).then_some(alias)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_device_is_asked_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            std::fs::create_dir_all(root.path().join(path)).unwrap();
            std::fs::write(root.path().join(path).join("modalias"), text).unwrap();
        };
        put("pci0000:00/0000:00:03.0", "pci:v00008086d0000100E\n");
        put("pci0000:00/0000:00:03.0/virtio0", "virtio:d00000001v00001AF4\n");
        put("odd", "-r\n");
        // As the kernel shows an eMMC: no file of its own, only a line of its event.
        let card = root.path().join("pci0000:00/0000:00:04.0/mmc_host/mmc0/mmc0:4567");
        std::fs::create_dir_all(&card).unwrap();
        std::fs::write(
            card.join("uevent"),
            "MMC_TYPE=MMC\nMMC_NAME=DG4016\nMODALIAS=mmc:block\n",
        )
        .unwrap();
        std::fs::write(root.path().join("odd/uevent"), "MODALIAS=--remove\n").unwrap();
        let mut found = BTreeSet::new();
        aliases(root.path(), DEEPEST, &mut found);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["mmc:block", "pci:v00008086d0000100E", "virtio:d00000001v00001AF4"]
        );
    }

    #[test]
    fn a_card_that_is_plugged_in_later_is_seen() {
        let event = Event::parse(b"add@/devices/x/net/eth1\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=eth1\0SEQNUM=7\0");
        assert_eq!(event.interface.as_deref(), Some("eth1"));
        assert!(event.is_change());
        assert!(!Event::parse(b"ACTION=add\0SUBSYSTEM=block\0DEVTYPE=partition\0").is_change());
    }

    proptest! {
        #[test]
        fn no_event_is_too_strange_to_read(message in prop::collection::vec(any::<u8>(), 0..200)) {
            Event::parse(&message);
            Event::of_file(&message);
        }
    }
}
