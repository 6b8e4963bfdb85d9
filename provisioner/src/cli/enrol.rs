// SPDX-License-Identifier: Apache-2.0
//! `provisioner enrol …`: windows by which unknown machines come in.

use anyhow::Context;
use provisioner_api::{EnrolmentWindow, OpenWindow};

use super::words::{moment, table};
use super::{Enrol, answer, client, talk};
use crate::config::Config;

/// Carries out a command.
pub fn run(config: &Config, command: &Enrol, json: bool) -> anyhow::Result<()> {
    let client = client(config);
    match command {
        Enrol::Open(open) => {
            let wish = OpenWindow {
                seconds: Some(seconds(&open.time)?),
                max: Some(open.max),
                mac_prefix: open.mac_prefix.clone(),
                relay: open.relay,
                port: open.port.clone(),
                tags: open.tags.clone(),
                profile: open.profile.clone(),
            };
            let window: EnrolmentWindow = talk(client.post("/api/v1/enrolment", &wish))?;
            answer(&window, json, opened)
        }
        Enrol::List => {
            let windows: Vec<EnrolmentWindow> = talk(client.get("/api/v1/enrolment"))?;
            answer(&windows, json, |windows| in_words(windows))
        }
        Enrol::Close { id } => {
            talk(client.delete(&format!("/api/v1/enrolment/{id}")))?;
            answer(&serde_json::json!({ "closed": id }), json, |_| {
                format!("Window {id} is closed. Machines that came in stay.")
            })
        }
    }
}

/// `30m`, `2h`, `1d`, `90s` as seconds.
fn seconds(text: &str) -> anyhow::Result<u64> {
    let bad = || format!("{text:?} is no time like 30m, 2h or 1d");
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[at..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => anyhow::bail!(bad()),
    };
    let number: u64 = text[..at].parse().ok().with_context(bad)?;
    number.checked_mul(unit).with_context(bad)
}

fn opened(window: &EnrolmentWindow) -> String {
    format!(
        "Window {} is open until {} for {} machines. Switch them on; close it with: provisioner enrol close {}",
        window.id,
        moment(window.until),
        window.max,
        window.id
    )
}

fn in_words(windows: &[EnrolmentWindow]) -> String {
    if windows.is_empty() {
        return "No window was opened yet: provisioner enrol open".into();
    }
    let rows = windows.iter().map(|window| {
        let whom = [
            window.mac_prefix.clone(),
            window.relay.map(|relay| format!("relay {relay}")),
            window.port.clone().map(|port| format!("port {port}")),
        ];
        let whom: Vec<String> = whom.into_iter().flatten().collect();
        vec![
            window.id.to_string(),
            if window.open { "open" } else { "closed" }.into(),
            moment(window.until),
            format!("{} of {}", window.used, window.max),
            whom.join(", "),
            window.tags.join(", "),
            window.profile.clone().unwrap_or_default(),
            window.by.clone(),
        ]
    });
    table(&["NR", "", "UNTIL", "USED", "FOR", "TAGS", "PROFILE", "BY"], rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(seconds(text).unwrap(), expected);
        }
        for text in ["", "2", "h", "2 h", "-1h", "2w", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
