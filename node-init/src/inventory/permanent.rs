// SPDX-License-Identifier: Apache-2.0
//! The hardware address that is burnt into a card, whatever address somebody gave it since.
#![allow(unsafe_code)] // one ioctl with a pointer inside its argument, which no safe crate wraps

use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `ETHTOOL_GPERMADDR`, linux/ethtool.h.
const ETHTOOL_GPERMADDR: u32 = 0x20;
/// `SIOCETHTOOL`, linux/sockios.h.
const SIOCETHTOOL: u64 = 0x8946;

/// `struct ethtool_perm_addr` with room for an Ethernet address (the kernel's largest, 32 bytes).
#[repr(C)]
struct Question {
    command: u32,
    size: u32,
    address: [u8; 32],
}

/// Lower case with colons; `None` where the driver does not tell.
pub(crate) fn address(card: &str) -> Option<String> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    let mut question = Question {
        command: ETHTOOL_GPERMADDR,
        size: 32,
        address: [0; 32],
    };
    // SAFETY: ifreq is plain numbers and pointers, for which zeros are values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if card.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(card.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut question).cast();
    // SAFETY: the kernel writes at most `size` bytes behind the pointer, and both structures live across the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    let address = &question.address[..6];
    if result < 0 || question.size != 6 || address.iter().all(|b| *b == 0) {
        return None;
    }
    Some(address.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"))
}
