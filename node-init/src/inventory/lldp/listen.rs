// SPDX-License-Identifier: Apache-2.0
//! Listens for LLDP on all cards, in the background, for as long as node-init lives.
#![allow(unsafe_code)] // packet sockets need sockaddr_ll and packet_mreq, which no safe wrapper covers
#![allow(clippy::cast_possible_truncation)] // sizes of these structures and one constant below 16 bits

use std::collections::BTreeMap;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::libc;
use provisioner_api::SwitchPort;

use crate::inventory::sysfs;

/// `EtherType` of LLDP, 802.1AB table 8-0.
const ETH_P_LLDP: u16 = 0x88CC;

/// Clause 7.1: the addresses that stations without bridging functions listen to.
const GROUPS: [[u8; 6]; 3] = [
    [0x01, 0x80, 0xC2, 0x00, 0x00, 0x0E],
    [0x01, 0x80, 0xC2, 0x00, 0x00, 0x03],
    [0x01, 0x80, 0xC2, 0x00, 0x00, 0x00],
];

/// What was heard so far, by kernel name of the card. Switches speak every 30 seconds by default (9.2.5.7), so it
/// fills while the machine waits for orders anyway. Clones share it.
#[derive(Clone, Default)]
pub struct Ears {
    heard: Arc<Mutex<BTreeMap<String, SwitchPort>>>,
    socket: Option<Arc<OwnedFd>>,
}

impl Ears {
    /// Opens a packet socket and listens until the process ends. Without the right to do so, nothing is ever heard.
    pub fn open(root: &Path) -> Self {
        let Ok(socket) = packet_socket() else {
            return Self::default();
        };
        let ears = Self {
            heard: Arc::default(),
            socket: Some(Arc::new(socket)),
        };
        let (mine, root) = (ears.clone(), root.to_path_buf());
        thread::spawn(move || mine.listen(&root));
        ears
    }

    /// Asks a card to let LLDP's group addresses through; again for a card that appears later.
    pub fn add_card(&self, name: &str, root: &Path) {
        let index = sysfs::number(&root.join("sys/class/net").join(name).join("ifindex"));
        if let (Some(socket), Some(index)) = (&self.socket, index.and_then(|i| i32::try_from(i).ok())) {
            for group in GROUPS {
                // A card that cannot filter lets them through anyway.
                let _ = join(socket, index, group);
            }
        }
    }

    /// What was heard, by kernel name of the card.
    pub fn heard(&self) -> BTreeMap<String, SwitchPort> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(&self, root: &Path) {
        let Some(socket) = &self.socket else { return };
        let mut frame = [0; 1600];
        while let Ok((length, index)) = receive(socket, &mut frame) {
            let Some(port) = super::parse(&frame[..length]) else {
                continue;
            };
            if let Some(name) = name_of(root, index) {
                self.heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(name, port);
            }
        }
    }
}

fn name_of(root: &Path, index: i32) -> Option<String> {
    let class: PathBuf = root.join("sys/class/net");
    let index = u64::try_from(index).ok()?;
    sysfs::names(&class)
        .into_iter()
        .find(|name| sysfs::number(&class.join(name).join("ifindex")) == Some(index))
}

fn packet_socket() -> io::Result<OwnedFd> {
    let protocol = libc::c_int::from(ETH_P_LLDP.to_be());
    // SAFETY: no pointers; SOCK_DGRAM gives payloads without the Ethernet header. A result that is not negative is a
    // new descriptor that nobody else owns.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol);
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }
}

fn join(socket: &OwnedFd, index: i32, group: [u8; 6]) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&group);
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
        mr_alen: 6,
        mr_address: address,
    };
    // SAFETY: `request` lives across the call and its size is the one given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The next frame's length and the index of the card it came in by.
fn receive(socket: &OwnedFd, frame: &mut [u8]) -> io::Result<(usize, i32)> {
    // SAFETY: sockaddr_ll is plain numbers, for which zeros are values.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    loop {
        // SAFETY: both buffers live across the call and have the lengths given.
        let received = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                0,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        if let Ok(received) = usize::try_from(received) {
            return Ok((received.min(frame.len()), from.sll_ifindex));
        }
        let error = io::Error::last_os_error();
        // ENETDOWN: a card was unplugged; the others go on.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENETDOWN)) {
            return Err(error);
        }
    }
}
