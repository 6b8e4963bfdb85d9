// SPDX-License-Identifier: Apache-2.0
//! Builds the RAM environment and node images from recipes.
//!
//! A build is a linear list of verbs (see [`build::ram`], [`build::node`] and [`build::cloud`]). Debian's own programs
//! do the work that they do well:
//! mmdebstrap on the host fetches packages; everything else comes out of a Debian 13 tree that it fetched, so that the
//! bytes do not depend on the host. No loop device, no KVM and no privilege is needed.
//!
//! This crate knows the formats of `provisioner_api` and nothing of who serves or writes what it builds.

pub mod build;
pub mod cache;
pub mod chunks;
pub mod cli;
pub mod cpio;
pub mod debian;
pub mod disk;
pub mod ext4;
pub mod foreign;
pub mod genuine;
pub mod grub;
pub mod initramfs;
pub mod kernel;
pub mod key;
pub mod mirror;
pub mod overlay;
pub mod progress;
pub mod qcow2;
pub mod recipe;
pub mod roles;
pub mod sign;
pub mod tool;
pub mod tree;
pub mod verify;
