// SPDX-License-Identifier: Apache-2.0
//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at. Short beside everything waited for, long beside what looking costs.
pub const LOOK: Duration = Duration::from_millis(100);

/// Looks until `condition` gives a value; fails after `limit`, naming what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain for: {what}", limit.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}
