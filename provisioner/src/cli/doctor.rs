// SPDX-License-Identifier: Apache-2.0
//! `provisioner doctor`: what does not work, on this machine and on the way of every other one to it.

use std::fmt::Write as _;

use provisioner_api::Finding;

use super::words::{ago, now, plain};
use super::{answer, client, talk};
use crate::config::Config;
use crate::doctor::{look, server};

/// Examines and tells; whether nothing grave was found.
pub fn run(config: &Config, json: bool) -> anyhow::Result<bool> {
    let client = client(config);
    let told: anyhow::Result<Vec<Finding>> = talk(client.get("/api/v1/doctor"));
    let mut findings = server::examine(&look::look(config, told.is_ok(), now()));
    // What both see is said once; the server may see one symptom several times.
    let mut told = told.unwrap_or_default();
    told.retain(|finding| {
        let known = |other: &Finding| (&other.about, &other.symptom) == (&finding.about, &finding.symptom);
        !findings.iter().any(known)
    });
    findings.extend(told);
    // What keeps a machine from arriving before what is only worth knowing.
    findings.sort_by_key(|finding| !finding.grave);
    answer(&findings, json, |findings| in_words(findings, now()))?;
    Ok(!findings.iter().any(|finding| finding.grave))
}

fn in_words(findings: &[Finding], now: i64) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = if finding.grave { "!" } else { "-" };
        let since = finding.since.map(|since| format!(" ({})", ago(since, now)));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{mark} {}{}: {}\n    {}",
            plain(&finding.about),
            since.unwrap_or_default(),
            plain(&finding.says),
            plain(&finding.action)
        );
    }
    if text.is_empty() {
        "All is well: the server serves, and every machine that was seen lately arrives.".into()
    } else {
        text.trim_end().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_sentence_and_an_action_and_nothing_is_said_in_peace() {
        let finding = Finding {
            about: "00:1b:21:00:00:01".into(),
            symptom: "loader-silent".into(),
            says: "fetched the loader ipxe.efi 40 s ago, then nothing\u{1b}[2J".into(),
            action: "switch it off and on once".into(),
            grave: true,
            since: Some(0),
        };
        let text = in_words(&[finding], 60_000);
        assert!(text.starts_with("! 00:1b:21:00:00:01 (60 s ago): fetched"), "{text}");
        assert!(
            text.contains("\n    switch it off") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(in_words(&[], 0).starts_with("All is well"));
    }
}
