// SPDX-License-Identifier: Apache-2.0
//! What fifty installs at once cost the source of packages, and the cache itself.

use std::time::Instant;

use anyhow::Result;

use super::process;
use super::table::Line;
use crate::packages::Market;

/// Installs at once: a lab's afternoon.
const MANY: usize = 50;
/// What their packages may cost the source, by what one install's do.
const TARGET: f64 = 1.1;

/// Lets them all install, first through an empty cache, then through a full one.
#[allow(clippy::cast_precision_loss)] // figures with two digits
pub fn measure() -> Result<Vec<Line>> {
    let mut market = Market::new("")?;
    market.start_source()?;
    market.start_cache()?;
    let began = Instant::now();
    market.installs(MANY)?;
    let took = began.elapsed();
    let one = market.repository.one_install();
    let ratio = market.sent()? as f64 / one as f64;
    let (mut used, mut memory) = (0.0, 0);
    for pid in market.cache_processes() {
        // Helpers of nginx end when they have nothing to do.
        used += process::alone(pid).map_or(0.0, |time| time.as_secs_f64());
        memory += process::highest_resident(pid).unwrap_or(0);
    }
    let began = Instant::now();
    market.installs(MANY)?;
    let again = began.elapsed();
    let served = MANY as f64 * one as f64 / 1e9;
    Ok(vec![
        Line::new(
            "fifty installs at once, bytes from the source",
            &format!("at most {TARGET} × one install's"),
            format!("{ratio:.3} × {}", process::megabytes(one)),
            ratio <= TARGET,
        ),
        Line::told(
            "how long they take, and once more",
            format!("{:.1} s, {:.1} s", took.as_secs_f64(), again.as_secs_f64()),
        )
        .because("fifty times apt and curl on this machine's processors take most of it"),
        Line::told(
            "the cache's processor and memory",
            format!("{used:.1} s for {served:.1} GB, {}", process::megabytes(memory)),
        ),
    ])
}
