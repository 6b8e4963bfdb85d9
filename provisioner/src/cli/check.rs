// SPDX-License-Identifier: Apache-2.0
//! `provisioner check-config`: what the configuration means. What is wrong with it was said by reading it.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::Serialize;

use super::answer;
use super::words::table;
use crate::config::{Config, Profile, Source, addresses};
use crate::network::interfaces;

/// The configuration in a few lines.
#[derive(Debug, Serialize)]
struct Meaning {
    site: String,
    interfaces: Vec<String>,
    dhcp: String,
    ports: BTreeMap<&'static str, u16>,
    state: String,
    default_profile: String,
    profiles: BTreeMap<String, String>,
    templates: Vec<String>,
    auto_approve: Vec<String>,
    /// What could not be checked here, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    unseen: Option<String>,
}

/// Says what it means.
pub fn run(config: &Config, json: bool) -> anyhow::Result<()> {
    let templates = match crate::templates::load(&config.templates, crate::templates::trial::apart) {
        Ok((files, _)) => files.into_keys().collect(),
        Err(broken) => {
            let lines: Vec<String> = broken.iter().map(crate::templates::said).collect();
            bail!("in the templates {}:\n{}", config.templates.display(), lines.join("\n"))
        }
    };
    let unseen = look_here(config)?;
    let meaning = Meaning {
        unseen,
        ..meaning(config, templates)
    };
    answer(&meaning, json, in_words)
}

/// Holds the addresses against the interfaces of this machine, as the server does before it starts. Where they are not there
/// (yet) that is told, and is no mistake of the file.
fn look_here(config: &Config) -> anyhow::Result<Option<String>> {
    let here = match interfaces(&config.interfaces, &config.mentioned()) {
        Ok(here) => here,
        Err(why) => {
            return Ok(Some(format!(
                "pools, gateways and reservations were not looked at: {why:#}"
            )));
        }
    };
    let wrong = addresses::wrong_here(config, here);
    if wrong.is_empty() {
        return Ok(None);
    }
    bail!("on this machine the server would not start:\n  {}", wrong.join("\n  "))
}

fn meaning(config: &Config, templates: Vec<String>) -> Meaning {
    let ports = &config.ports;
    Meaning {
        site: config.site.clone(),
        interfaces: config.interfaces.clone(),
        dhcp: dhcp(config),
        ports: BTreeMap::from([
            ("dhcp", ports.dhcp),
            ("pxe", ports.pxe),
            ("tftp", ports.tftp),
            ("ntp", ports.ntp),
            ("http", ports.http),
            ("api", ports.api),
            ("packages", ports.packages),
        ]),
        state: config.paths.state.display().to_string(),
        default_profile: config.default_profile.clone(),
        profiles: config
            .profiles
            .iter()
            .map(|(name, profile)| (name.clone(), source(profile)))
            .collect(),
        templates,
        auto_approve: config.rules.iter().map(|rule| rule.name.clone()).collect(),
        unseen: None,
    }
}

fn source(profile: &Profile) -> String {
    match &profile.source {
        Source::Image(image) => format!("image {}", image.name),
        Source::CloudImage(image, installer) => format!(
            "ready-made image {} ({}), packages from {}",
            image.name, installer.os.name, installer.mirror
        ),
        Source::Installer(installer) => format!("installer {}, packages from {}", installer.os.name, installer.mirror),
    }
}

/// Modes, and what is not the usual.
fn dhcp(config: &Config) -> String {
    let mut words = vec![config.dhcp.mode.word().to_owned()];
    let segments = config.segments.iter();
    words.extend(segments.map(|(name, dhcp)| format!("{name} {}", dhcp.mode.word())));
    let subnets = config.subnets.iter();
    words.extend(subnets.map(|subnet| format!("{}/{} {}", subnet.network, subnet.prefix, subnet.dhcp.mode.word())));
    if !config.reservations.is_empty() {
        words.push(format!("{} reserved", config.reservations.len()));
    }
    words.join(", ")
}

fn in_words(meaning: &Meaning) -> String {
    let or = |words: String, none: &str| if words.is_empty() { none.to_owned() } else { words };
    let ports: Vec<_> = meaning
        .ports
        .iter()
        .map(|(name, port)| format!("{name} {port}"))
        .collect();
    let profiles: Vec<_> = meaning
        .profiles
        .iter()
        .map(|(name, source)| format!("{name} ({source})"))
        .collect();
    let rows = [
        ("site", meaning.site.clone()),
        (
            "interfaces",
            or(meaning.interfaces.join(", "), "every one with an IPv4 address"),
        ),
        ("DHCP", meaning.dhcp.clone()),
        ("ports", ports.join(", ")),
        ("state", meaning.state.clone()),
        (
            "profiles",
            format!("{}; default {}", profiles.join(", "), meaning.default_profile),
        ),
        ("templates", or(meaning.templates.join(", "), "the built-in ones")),
        (
            "approved by rule",
            or(
                meaning.auto_approve.join(", "),
                "nothing: a person approves every machine",
            ),
        ),
    ];
    let unseen = meaning.unseen.iter().map(|why| ("not checked", why.clone()));
    table(
        &["the configuration is good", ""],
        rows.into_iter()
            .chain(unseen)
            .map(|(what, value)| vec![what.to_owned(), value]),
    )
}
