// SPDX-License-Identifier: Apache-2.0
//! Enrolment windows: permits for batches of unknown machines.

use serde::{Deserialize, Serialize};

/// Opens a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct OpenWindow {
    /// Seconds until it closes by itself; two hours if absent.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 604_800))]
    pub seconds: Option<u64>,
    /// Machines that it lets in at most; 30 if absent.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10_000))]
    pub max: Option<u32>,
    /// Only cards whose address begins so: `00:1b:21`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){0,5}$"))]
    pub mac_prefix: Option<String>,
    /// Only machines that ask through this relay.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Ipv4))]
    pub relay: Option<std::net::Ipv4Addr>,
    /// Only machines at this switch port, as the relay names it (option 82, circuit).
    pub port: Option<String>,
    /// Labels for its nodes.
    #[cfg_attr(feature = "openapi", schema(max_items = 16, value_type = Vec<crate::limits::Word>))]
    pub tags: Vec<String>,
    /// What its nodes become where their approval does not say otherwise.
    pub profile: Option<String>,
}

/// A window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrolmentWindow {
    /// Its number.
    pub id: i64,
    /// Whether machines come in through it now.
    pub open: bool,
    /// Unix milliseconds.
    pub opened: i64,
    /// Unix milliseconds at which it closes, or was closed.
    pub until: i64,
    /// Machines that it lets in at most.
    pub max: u32,
    /// Machines that it has let in, those on their way included.
    pub used: u32,
    /// Only cards whose address begins so.
    pub mac_prefix: Option<String>,
    /// Only machines that ask through this relay.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub relay: Option<std::net::Ipv4Addr>,
    /// Only machines at this switch port.
    pub port: Option<String>,
    /// Labels for its nodes.
    pub tags: Vec<String>,
    /// What its nodes become.
    pub profile: Option<String>,
    /// Who opened it.
    pub by: String,
}
