// SPDX-License-Identifier: Apache-2.0
//! The daemon in the machine, in both its lives: in RAM, and installed.
//!
//! In RAM ([`sequence`]) it is process 1 of an environment that came over the network: it finds its controller, says
//! what the machine is made of, and carries out orders until it is told to reboot. Nothing of that life survives a
//! power cut, and nothing has to: the controller remembers. Installed (`serve`) it is a service of the system that
//! the first life wrote to the disk, or that a distribution's installer made and that has [joined](join).

pub mod bridge;
pub mod capsule;
pub mod client;
pub mod clock;
pub mod compute;
pub mod disk;
pub mod durable;
pub mod host;
pub mod inventory;
pub mod join;
pub mod key;
pub mod load;
pub mod network;
pub mod programs;
pub mod screen;
pub mod sequence;
pub mod serve;
pub mod steps;
pub mod vouch;
pub mod write;
