// SPDX-License-Identifier: Apache-2.0
//! `provisioner packages …`: the cache, and what it lacks.

use provisioner_api::{MissingPackage, PackagesReport};

use super::words::{ago, now, plain, table};
use super::{Packages, answer, client, say, talk};
use crate::config::{Config, size_in_words};
use crate::packages::{nginx, serve};

/// Where the report is.
const PATH: &str = "/api/v1/packages";

/// Carries out a command.
pub fn run(config: &Config, command: &Packages, json: bool) -> anyhow::Result<()> {
    match command {
        Packages::Serve => serve::run(config),
        Packages::Config => say(&nginx::render(config, &serve::facts(config)?)?),
        Packages::Status => {
            let report: PackagesReport = talk(client(config).get(PATH))?;
            answer(&report, json, status_in_words)
        }
        Packages::Missing => {
            let report: PackagesReport = talk(client(config).get(PATH))?;
            answer(&report.missing, json, |missing| missing_in_words(missing, now()))
        }
    }
}

fn status_in_words(report: &PackagesReport) -> String {
    let how = if report.ok { "ok" } else { "NOT OK" };
    let proxy = report
        .proxy
        .as_deref()
        .unwrap_or("nothing: installers fetch by themselves");
    let free = report.free.map_or_else(|| "?".into(), size_in_words);
    let rows = [
        ("cache", format!("{how}: {}", report.detail)),
        ("installers fetch through", proxy.to_owned()),
        (
            "may take",
            format!("{}; {free} are free there", size_in_words(report.size)),
        ),
        ("wanted and not to be had", format!("{} files", report.missing.len())),
    ];
    let mut text = table(
        &["PACKAGES", ""],
        rows.map(|(what, value)| vec![what.to_owned(), value]),
    );
    if !report.sources.is_empty() {
        let rows = report
            .sources
            .iter()
            .map(|source| vec![source.url.clone(), or_nobody(&source.profiles)]);
        text.push_str("\n\n");
        text.push_str(&table(&["SOURCE", "FOR"], rows));
    }
    text
}

fn missing_in_words(missing: &[MissingPackage], now: i64) -> String {
    if missing.is_empty() {
        return "Nothing is missing: all that was wanted in the last days was to be had.".into();
    }
    let rows = missing.iter().map(|missing| {
        vec![
            plain(&missing.url),
            or_nobody(&missing.profiles),
            missing.why.clone(),
            missing.times.to_string(),
            format!("{} by {}", ago(missing.last, now), missing.asked_by),
        ]
    });
    table(&["MISSING", "FOR", "WHY", "ASKED", "LAST"], rows)
}

fn or_nobody(profiles: &[String]) -> String {
    if profiles.is_empty() {
        "-".into()
    } else {
        profiles.join(", ")
    }
}
