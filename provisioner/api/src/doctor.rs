// SPDX-License-Identifier: Apache-2.0
//! What was seen of machines on their way to node-init, and what stands in their way.

use serde::{Deserialize, Serialize};

/// What stands in the way of a machine or of the server itself: one sentence and one thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// Whom it is about: `server`, a segment's interface, or a machine by name or card.
    pub about: String,
    /// The symptom in a short word, for programs: `loader-silent`, `port-taken`.
    pub symptom: String,
    /// What is seen.
    pub says: String,
    /// What to do about it.
    pub action: String,
    /// Whether something does not work; the rest is worth knowing.
    pub grave: bool,
    /// Unix milliseconds since when, where that is known.
    pub since: Option<i64>,
}

/// A card that was seen on the wire lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeenCard {
    /// Its hardware address.
    pub mac: String,
    /// Name of the node that it belongs to, if it is known.
    pub node: Option<String>,
    /// Interface of the server on which it was seen.
    pub interface: String,
    /// Its IP address.
    pub address: Option<String>,
    /// What its machine can start: `bios`, `uefi-x64`; empty where it did not say.
    pub firmware: String,
    /// Unix milliseconds of the last sighting.
    pub last_seen: i64,
    /// How often it was seen.
    pub times: u64,
    /// The loader that works on it.
    pub loader: Option<String>,
    /// Its last starts, oldest first; none for what does not boot from the network.
    pub starts: Vec<SeenStart>,
}

/// One start of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeenStart {
    /// Seconds for which it had been asking when it was first heard, by its own word.
    pub secs: u16,
    /// What was seen, oldest first.
    pub steps: Vec<SeenStep>,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeenStep {
    /// Unix milliseconds, first.
    pub at: i64,
    /// Unix milliseconds, last.
    pub last: i64,
    /// How often.
    pub times: u32,
    /// What, in words.
    pub what: String,
}
