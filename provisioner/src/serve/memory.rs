// SPDX-License-Identifier: Apache-2.0
//! How the allocator keeps memory: a thousand machines that boot at once must not leave the server large for ever.
//!
//! glibc gives every thread a heap of its own, up to eight a processor, and gives little of them back. That makes
//! programs with a hundred busy threads faster; this one has a handful that wait for the network and the disk.

#![allow(unsafe_code)] // glibc's settings have no safe wrapper

use std::time::Duration;

use anyhow::Result;
use nix::libc;

/// Heaps. Two are enough for as many threads as are ever busy at once.
const HEAPS: libc::c_int = 2;

/// Time between two times of giving unused memory back: a crowd of machines comes and goes in seconds, and where
/// nothing was freed there is nothing to do.
const PACE: Duration = Duration::from_secs(3);

/// Settles on few heaps; call it before the first thread is started.
pub(super) fn few_heaps() {
    // SAFETY: mallopt only changes a number that malloc reads when it makes a heap for a new thread.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
}

/// Gives back what is not used, for ever.
pub(super) async fn give_back() -> Result<()> {
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        // It takes a few milliseconds and holds the heaps' locks: not on a thread that answers.
        tokio::task::spawn_blocking(|| {
            // SAFETY: malloc_trim is thread-safe (malloc_trim(3)) and touches unused memory only.
            unsafe { libc::malloc_trim(0) }
        })
        .await?;
    }
}
