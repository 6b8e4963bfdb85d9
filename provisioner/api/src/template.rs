// SPDX-License-Identifier: Apache-2.0
//! Templates of answer files: which are in force, and what a machine would get of them. For the operator on the
//! controller only: a site's templates may hold anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The templates in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TemplateList {
    /// The site's folder.
    pub folder: String,
    /// Every template.
    pub templates: Vec<TemplateEntry>,
    /// What is wrong with the folder, so that what was in force before still is: `FILE:LINE: why`.
    pub refused: Vec<String>,
}

/// A template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TemplateEntry {
    /// Its path.
    pub path: String,
    /// Whether the site's own is in force.
    pub site: bool,
}

/// Asks what a machine would get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TemplateTrial {
    /// The machine, by name or id; a made-up one if absent.
    pub node: Option<String>,
    /// What it is to become; the machine's own profile, or the default, if absent.
    pub profile: Option<String>,
    /// With these files above the built-in templates; with those in force if absent.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, crate::limits::FileText>>))]
    pub overrides: Option<BTreeMap<String, String>>,
}

/// What a machine would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TemplateAnswer {
    /// The machine.
    pub machine: String,
    /// What it becomes.
    pub profile: String,
    /// The system that is installed.
    pub os: String,
    /// The kernel's arguments; empty where the system has no installer.
    pub arguments: Vec<String>,
    /// The answer files, by name; of a diff, what changes in them, empty where nothing does.
    pub files: BTreeMap<String, String>,
}
