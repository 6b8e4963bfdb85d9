// SPDX-License-Identifier: Apache-2.0
//! Time zones by the names that the IANA database has for them now. A name of before is taken for the one of now: systems
//! do not bring the old names any more (Debian 13 has them in a package of their own).

use std::fmt;

use icu_time::zone::TimeZone as Known;
use icu_time::zone::iana::{IanaParserExtended, IanaParserExtendedBorrowed};
use serde::{Deserialize, Serialize};

use super::nearest;

/// What everybody calls it, and every system has beside `Etc/UTC`.
const UTC: &str = "UTC";

/// Names without a place that were zones of their own until 2024b of the database, and the places that they are links to
/// since (its file `backward`).
const WITHOUT_PLACE: [(&str, &str); 11] = [
    ("CET", "Europe/Brussels"),
    ("CST6CDT", "America/Chicago"),
    ("EET", "Europe/Athens"),
    ("EST", "America/Panama"),
    ("EST5EDT", "America/New_York"),
    ("HST", "Pacific/Honolulu"),
    ("MET", "Europe/Brussels"),
    ("MST", "America/Phoenix"),
    ("MST7MDT", "America/Denver"),
    ("PST8PDT", "America/Los_Angeles"),
    ("WET", "Europe/Lisbon"),
];

/// A time zone of the IANA database, by its present name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(String);

/// Not the name of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a time zone: a name of the IANA database, such as Europe/Berlin or UTC{hint}")]
pub struct NoZone {
    /// How it begins.
    pub given: String,
    /// What could be meant.
    pub hint: String,
}

impl TimeZone {
    /// Takes a name that there is or was, in upper or lower case.
    pub fn new(name: impl Into<String>) -> Result<Self, NoZone> {
        let name = name.into();
        let zones = IanaParserExtended::new();
        let found = zones.parse(&name);
        let linked = WITHOUT_PLACE
            .iter()
            .find(|(before, _)| before.eq_ignore_ascii_case(&name));
        if let Some((_, present)) = linked {
            return Ok(Self((*present).to_owned()));
        }
        if found.time_zone == Known::UNKNOWN || !is_path(found.canonical) {
            return Err(no_zone(&name, zones));
        }
        let present = if found.normalized == UTC { UTC } else { found.canonical };
        Ok(Self(present.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TimeZone {
    type Error = NoZone;

    fn try_from(name: String) -> Result<Self, NoZone> {
        Self::new(name)
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.0
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// It becomes part of a path on the node.
fn is_path(name: &str) -> bool {
    name.split('/')
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c)))
}

fn no_zone(name: &str, zones: IanaParserExtendedBorrowed<'static>) -> NoZone {
    let given: String = name.chars().take(40).collect();
    let all = || zones.iter().map(|zone| zone.canonical);
    // People name the city alone, or its country with it.
    let city = |zone: &&str| {
        zone.rsplit('/')
            .next()
            .is_some_and(|city| city.eq_ignore_ascii_case(given.trim()))
    };
    let meant = all().find(city).or_else(|| nearest(&given, all()));
    let hint = meant.map(|zone| format!("; is {zone} meant?")).unwrap_or_default();
    NoZone { given, hint }
}
