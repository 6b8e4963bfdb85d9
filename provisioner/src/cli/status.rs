// SPDX-License-Identifier: Apache-2.0
//! `provisioner status`: how the running server is.

use std::fmt::Write as _;

use provisioner_api::StatusReport;

use super::words::{plain, span, table};
use super::{answer, client, talk};
use crate::config::Config;

/// Asks and tells.
pub fn run(config: &Config, json: bool) -> anyhow::Result<()> {
    let client = client(config);
    let status: StatusReport = talk(client.get("/api/v1/status"))?;
    answer(&status, json, in_words)
}

fn in_words(status: &StatusReport) -> String {
    let mut text = format!(
        "{}, provisioner {}, up for {}\n\n",
        status.site,
        status.version,
        span(status.uptime)
    );
    let services = status.services.iter().map(|service| {
        let how = if service.ok { "ok" } else { "NOT OK" };
        vec![service.name.clone(), how.into(), service.detail.clone()]
    });
    text.push_str(&table(&["SERVICE", "", ""], services));
    text.push_str("\n\n");
    let nodes = status
        .nodes
        .iter()
        .map(|(state, count)| vec![state.clone(), count.to_string()]);
    text.push_str(&table(&["NODES", ""], nodes));
    for warning in &status.warnings {
        let _ = write!(text, "\n\nwarning: {}", plain(warning));
    }
    text
}
