// SPDX-License-Identifier: Apache-2.0
//! Log lines go to standard error, one line an event: systemd keeps them, and people see them in a terminal.

use std::io::{IsTerminal as _, stderr};

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};
use quota::Quota;

mod quota;

/// Begins to log.
pub(crate) fn start(log: &Log) -> Result<()> {
    let filter =
        EnvFilter::try_new(&log.filter).with_context(|| format!("understanding log.filter {:?}", log.filter))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_target(false);
    // systemd sets this where its journal reads what is written, and the journal has a clock of its own.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let started = match (log.format, journal) {
        (LogFormat::Json, _) => lines
            .json()
            .flatten_event(true)
            .finish()
            .with(Quota::default())
            .try_init(),
        (LogFormat::Pretty, true) => lines
            .with_ansi(false)
            .without_time()
            .finish()
            .with(Quota::default())
            .try_init(),
        (LogFormat::Pretty, false) => lines
            .with_ansi(stderr().is_terminal())
            .finish()
            .with(Quota::default())
            .try_init(),
    };
    started.context("starting the log")
}
