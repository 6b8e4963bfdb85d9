// SPDX-License-Identifier: Apache-2.0
//! The clock: what happens because nothing happened.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use provisioner_api::FailCause;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::{App, Change};
use crate::events;
use crate::lifecycle::{Event, State};
use crate::registry::{Entry, Node, RegistryError};

/// Time between two looks. Liveness is told in tens of seconds; a look at a thousand nodes takes a millisecond.
const PACE: Duration = Duration::from_secs(1);

/// Silence after which a machine that nobody approved is forgotten: it was a visitor, or a liar. Longer than a
/// summer's weekend at the lab, shorter than the memory of its people.
const FORGET_AFTER: i64 = 30 * 24 * 3_600_000;

/// The server must have listened this long before it holds a machine's silence against it.
const LISTENED: i64 = 24 * 3_600_000;

/// Looks between two examinations of machines on their way: silence is told in tens of seconds.
const EXAMINE: u32 = 5;

/// Looks between two checks of the state: each writes to the disk.
const CHECK: u32 = 30;

/// Looks between two times that the write-ahead log is brought into the database: who copies the file alone lacks no
/// more than that.
const TIDY: u32 = 300;

/// Looks at the clock until the server stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) -> Result<()> {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        looks = looks.wrapping_add(1);
        let app = Arc::clone(&app);
        // What is due is written to the disk; a disk that is full gets another chance in a second.
        tokio::task::spawn_blocking(move || {
            let now = app.keep_time();
            app.presence.tick(now);
            if looks.is_multiple_of(EXAMINE) {
                app.examine(now);
            }
            look(&app, now);
            keep_house(&app, looks);
        })
        .await?;
    }
}

/// Checks the state, and tidies it up.
fn keep_house(app: &App, looks: u32) {
    if looks % CHECK == 1 {
        app.look_at_state();
    }
    if looks.is_multiple_of(TIDY)
        && let Err(error) = app.registry.tidy()
    {
        warn!(%error, "bringing the write-ahead log into the database");
    }
}

/// Does what is due at `now`.
pub fn look(app: &App, now: i64) {
    for node in app.registry.nodes() {
        if let Err(error) = look_at(app, &node, now) {
            warn!(node = node.name, %error, "doing what is due");
        }
    }
}

fn look_at(app: &App, node: &Node, now: i64) -> Result<(), RegistryError> {
    match &node.state {
        State::Ready { .. } | State::Draining { .. } => note_silence(app, node, now),
        State::Installing { written: true, .. } => call_overdue(app, node, now),
        state if state.installer().is_some() => call_silent(app, node, now),
        State::Enrolled => forget(app, node, now),
        _ => Ok(()),
    }
}

/// A node that serves and has fallen silent is lost; its next heartbeat says that it is back.
fn note_silence(app: &App, node: &Node, now: i64) -> Result<(), RegistryError> {
    let seen = app.presence.of(&node.id);
    let noted = seen.as_ref().is_some_and(|seen| seen.lost);
    if noted || app.liveness(node, seen.as_ref(), now) != "lost" {
        return Ok(());
    }
    let silence = now
        - seen
            .map(|seen| seen.at)
            .filter(|at| *at > 0)
            .unwrap_or(app.presence.started());
    info!(node = node.name, silence, "lost");
    let entry = Entry::new(
        "lost",
        format!("no word for {} seconds", silence / 1000),
        events::PROVISIONER,
    );
    app.registry.write_down(Some(&node.id), &entry, now)?;
    app.presence.update(&node.id, |seen| seen.lost = true);
    app.announce(Change::Node(node.id.clone()));
    Ok(())
}

/// An installed system that is not ready in time counts as a failure. The time begins anew when the server does:
/// it could not be heard before.
fn call_overdue(app: &App, node: &Node, now: i64) -> Result<(), RegistryError> {
    let nodes = &app.config.nodes;
    // A ready-made image that has begun to set itself up is as slow as an installer, and is heard like one.
    let (patience, heard) = match &node.state {
        State::Installing { plan, begun: true, .. } if !plan.has_installer() && node.installed.is_none() => {
            let heard = app.presence.of(&node.id).map_or(0, |seen| seen.at);
            (nodes.installer_timeout, heard)
        }
        _ => (nodes.first_boot_timeout, 0),
    };
    let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
    if now - node.since.max(app.presence.started()).max(heard) <= patience {
        return Ok(());
    }
    let event = match (&node.installed, node.note.as_str()) {
        (None, _) => Event::Overdue,
        // It is home, and something keeps it from being ready.
        (Some(_), words) => {
            let detail = if words.is_empty() {
                "it did not report its checks in time"
            } else {
                words
            };
            Event::Failed(FailCause::SetUp {
                step: "the checks of the installed system".into(),
                detail: detail.into(),
            })
        }
    };
    info!(node = node.name, "overdue");
    app.registry.apply(&node.id, &event, events::PROVISIONER, now)?;
    app.presence.wake(&node.id);
    app.announce(Change::Node(node.id.clone()));
    Ok(())
}

/// An installer that says nothing for long, or whose time is over, counts as a failure. As above, silence begins with
/// the server.
fn call_silent(app: &App, node: &Node, now: i64) -> Result<(), RegistryError> {
    let patience = i64::try_from(app.config.nodes.installer_timeout.as_millis()).unwrap_or(i64::MAX);
    let heard = app.presence.of(&node.id).map_or(0, |seen| seen.at);
    let silent = now - node.since.max(app.presence.started()).max(heard) > patience;
    let over = || {
        app.registry
            .installation(&node.id)
            .map(|found| found.is_none_or(|found| found.until <= now))
    };
    if !silent && !over()? {
        return Ok(());
    }
    info!(node = node.name, silent, "its installer is overdue");
    app.registry
        .apply(&node.id, &Event::Overdue, events::PROVISIONER, now)?;
    app.presence.update(&node.id, |seen| seen.progress = None);
    app.presence.wake(&node.id);
    app.announce(Change::Node(node.id.clone()));
    Ok(())
}

/// A machine that nobody approved and that is gone for good leaves no trace but its events.
fn forget(app: &App, node: &Node, now: i64) -> Result<(), RegistryError> {
    let heard = app.presence.of(&node.id).map_or(0, |seen| seen.at).max(node.since);
    if now - heard < FORGET_AFTER || now - app.presence.started() < LISTENED {
        return Ok(());
    }
    let entry = Entry::new(
        "forgotten",
        format!("{} was never approved and is gone", node.name),
        events::PROVISIONER,
    );
    app.registry.forget(&node.id, &entry, now)?;
    app.presence.forget(&node.id);
    app.announce(Change::Node(node.id.clone()));
    Ok(())
}

#[cfg(test)]
mod tests;
