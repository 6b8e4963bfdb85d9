// SPDX-License-Identifier: Apache-2.0
//! The installed node's clock: chrony's configuration as node-init writes it, and chrony's own word on how it goes.
//!
//! It runs nothing: texts in, texts and values out.

use provisioner_api::words::{self, Unwritable};

/// A clock that was set to the second must not be called out of step for the network's jitter; guests and TLS are
/// content with this many seconds.
const IN_STEP: f64 = 1.0;

/// Where the installed system's chrony looks for its servers.
pub const CHRONY_CONF: &str = "/etc/chrony/conf.d/gleaner.conf";

/// chrony's configuration for these servers, the controller first: it alone is preferred.
pub fn chrony_conf(servers: &[String]) -> Result<String, Unwritable> {
    let mut lines = vec!["# Written by node-init at installation.".to_owned()];
    for (index, server) in servers.iter().enumerate() {
        let server = words::time_server(server)?;
        // minpoll 4: every 16 seconds, so that a node that starts with a clock of 2003 is in step within the minute.
        let prefer = if index == 0 { " prefer" } else { "" };
        lines.push(format!("server {server} iburst{prefer} minpoll 4 maxpoll 8"));
    }
    // Dead batteries are normal here: step whenever the clock is off by more than a second, however late it is found
    // out (a controller that was away when the node started), and keep the battery-backed clock right.
    lines.extend(["makestep 1 -1".into(), "rtcsync".into(), String::new()]);
    Ok(lines.join("\n"))
}

/// The servers that a configuration of [`chrony_conf`]'s shape names, in order.
pub fn configured_servers(conf: &str) -> Vec<String> {
    let mut servers = Vec::new();
    for line in conf.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("server" | "peer" | "pool")) {
            servers.extend(words.next().map(str::to_owned));
        }
    }
    servers
}

/// What `chronyc -c -n tracking` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// The source that the clock follows; `None` while there is none.
    pub source: Option<String>,
    /// Seconds that this clock is ahead of it.
    pub ahead: f64,
    /// Whether the clock follows a source at all.
    pub synchronised: bool,
}

/// chronyc's answer is not in the form that chrony 4 documents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chronyc answered {0:?}, which is not its tracking line")]
pub struct NotTracking(String);

/// Fields of chronyc's tracking line, by their place in it (chrony 4, `chronyc -c tracking`).
mod field {
    pub(super) const ADDRESS: usize = 1;
    pub(super) const OFFSET: usize = 4;
    pub(super) const LEAP: usize = 13;
    pub(super) const COUNT: usize = 14;
}

impl Tracking {
    /// Reads the one line that `chronyc -c -n tracking` prints.
    pub fn parse(text: &str) -> Result<Self, NotTracking> {
        let bad = || NotTracking(text.chars().take(80).collect());
        let fields: Vec<&str> = text.trim().split(',').collect();
        if fields.len() != field::COUNT {
            return Err(bad());
        }
        let slow: f64 = fields[field::OFFSET].parse().map_err(|_| bad())?;
        if !slow.is_finite() {
            return Err(bad());
        }
        let source = fields[field::ADDRESS];
        Ok(Self {
            source: (!source.is_empty()).then(|| source.to_owned()),
            // chronyc counts how far the clock is *behind* ("slow of NTP time" is positive).
            ahead: 0.0 - slow,
            synchronised: fields[field::LEAP] != "Not synchronised",
        })
    }

    /// Whether the clock follows one of `servers` closely enough, and the sentence for a person either way. Where none
    /// are named the system has its own, and any will do.
    pub fn judge(&self, servers: &[String]) -> (bool, String) {
        let source = match &self.source {
            Some(source) if self.synchronised => source,
            _ => return (false, "chrony follows no time server yet".into()),
        };
        if !servers.is_empty() && !servers.iter().any(|server| server == source) {
            let wanted = servers.join(", ");
            return (
                false,
                format!("chrony follows {source} and not the controller's servers ({wanted})"),
            );
        }
        if self.ahead.abs() > IN_STEP {
            return (
                false,
                format!("chrony follows {source}; the clock is still off by {:.1} s", self.ahead),
            );
        }
        (true, format!("in step with {source}"))
    }
}

#[cfg(test)]
mod tests;
