// SPDX-License-Identifier: Apache-2.0
//! The one shape of every error (RFC 9457).

use serde::{Deserialize, Serialize};

/// Media type of [`Problem`], RFC 9457 section 3.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error as the API tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A word that programs branch on: `/problems/not-found`.
    pub r#type: String,
    /// The same for people, short; equal for all problems of one type.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened this time, why, and what to do.
    pub detail: String,
}
