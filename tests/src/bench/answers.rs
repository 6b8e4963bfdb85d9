// SPDX-License-Identifier: Apache-2.0
//! How many answer files one core makes in a second, a family at a time.

use std::time::{Duration, Instant};

use anyhow::Result;
use kickstart::families::{self, Family};
use kickstart::{Refused, Templates, render, samples};

use super::table::Line;

/// A thousand machines that restart at once, ten files each, wait a second.
const TARGET: f64 = 10_000.0;
/// Long enough that what else the machine does is little beside it.
const MEASURED_FOR: Duration = Duration::from_secs(2);

/// Renders every sample for the first system of every family.
pub fn measure() -> Result<Vec<Line>> {
    let templates = Templates::built_in()?;
    let (samples, site) = (samples::all(), samples::site());
    let mut lines = Vec::new();
    for family in Family::ALL {
        let Some(os) = families::all().find(|os| os.family == family) else {
            continue;
        };
        let (mut files, began) = (0_u32, Instant::now());
        while began.elapsed() < MEASURED_FOR {
            for spec in &samples {
                match render(&templates, os, spec, &site) {
                    Ok(answer) => files += u32::try_from(answer.files.len())?,
                    Err(Refused::Unsupported(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let rate = f64::from(files) / began.elapsed().as_secs_f64();
        lines.push(Line::new(
            &format!("answer files of {}", os.name),
            &format!("at least {TARGET} a second on one core"),
            format!("{rate:.0} a second"),
            rate >= TARGET,
        ));
    }
    Ok(lines)
}
