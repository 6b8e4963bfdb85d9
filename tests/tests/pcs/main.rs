// SPDX-License-Identifier: Apache-2.0
//! Stories of virtual PCs with real firmware. One program for all of them, so that as many run side by side as there
//! are processors: each PC keeps one busy.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_disks;
mod bad_images;
mod bad_machines;
mod beside;
mod boot_stick;
mod bridge;
mod cloud;
mod debian_installer;
mod firmware;
mod installers;
mod journey_bios;
mod journey_uefi;
mod other_disks;
mod plain;
mod power_cuts;
mod secure_boot;
mod service;
