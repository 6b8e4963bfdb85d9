// SPDX-License-Identifier: Apache-2.0
//! The network of the life in RAM: the card that booted, an address from DHCP, a controller that answers.
//!
//! busybox's udhcpc does DHCP for as long as this life lasts; it calls this program again for every event, which is
//! what [`lease`] does in a process of its own.

pub mod cards;
pub mod cmdline;
pub mod lease;
pub mod unusable;
