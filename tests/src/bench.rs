// SPDX-License-Identifier: Apache-2.0
//! What `make bench` measures, and against whom: a peer that people know, on the same machine, in the same run.
//!
//! Every section makes its own laboratory and leaves nothing behind. Figures are printed, never asserted: a busy
//! machine makes them worse, not wrong.

pub mod answers;
pub mod boots;
pub mod dhcp;
pub mod http;
pub mod node_init;
pub mod one_more;
pub mod packages;
pub mod peer;
pub mod process;
pub mod table;
pub mod tftp;
pub mod wire_size;
pub mod write;
