// SPDX-License-Identifier: Apache-2.0
//! What unknown machines get, and where.

use anyhow::{Context, Result, ensure};

use super::networks::network;
use super::written;
use crate::config::{Enrolment, Place, Unknown};

/// `[enrolment]`; `interfaces` are those to serve, all where none is named.
pub(super) fn enrolment(written: &written::Enrolment, interfaces: &[String]) -> Result<Enrolment> {
    let segments = written
        .segments
        .iter()
        .map(|(name, written)| Ok((place(name, interfaces)?, unknown(*written))));
    Ok(Enrolment {
        unknown: written.unknown.map_or(Unknown::Auto, unknown),
        segments: segments.collect::<Result<_>>()?,
    })
}

fn unknown(written: written::Unknown) -> Unknown {
    match written {
        written::Unknown::Auto => Unknown::Auto,
        written::Unknown::Enrol => Unknown::Enrol,
        written::Unknown::Ask => Unknown::Ask,
        written::Unknown::Ignore => Unknown::Ignore,
    }
}

fn place(name: &str, interfaces: &[String]) -> Result<Place> {
    if !name.contains('/') {
        ensure!(
            interfaces.is_empty() || interfaces.iter().any(|served| served == name),
            "enrolment.segments: {name:?} is not one of the interfaces to serve ({}); a network behind a relay is written \
             like \"198.51.100.0/24\"",
            interfaces.join(", ")
        );
        return Ok(Place::Interface(name.to_owned()));
    }
    let (network, prefix) = network(name).with_context(|| {
        format!(
            "enrolment.segments: {name:?} is not like \"198.51.100.0/24\", the first address of a network and the bits of its \
             part"
        )
    })?;
    Ok(Place::Network(network, prefix))
}
