// SPDX-License-Identifier: Apache-2.0
//! The laboratory: fake firmware, fake nodes, network namespaces, virtual PCs.
//!
//! Every journey runs the real programs as a user would: the `provisioner` binary in a private network, real
//! firmware in QEMU or a fake that speaks the same bytes. Nothing here sleeps for a time; it waits for a
//! condition until a deadline ([`wait::until`]).

pub mod artifacts;
pub mod bench;
pub mod demo;
pub mod fake_installer;
pub mod folder;
pub mod http;
pub mod installer;
pub mod journey;
pub mod lab;
pub mod machine;
pub mod made_up;
pub mod name;
pub mod neighbour;
pub mod node;
pub mod packages;
pub mod peer;
pub mod rom;
pub mod rude;
pub mod server;
pub mod space;
pub mod stopwatch;
pub mod validators;
pub mod vm;
pub mod wait;
