// SPDX-License-Identifier: Apache-2.0
//! Asks for orders and carries them out, until one of them is to go.

use std::time::{Duration, Instant};

use anyhow::Result;
use provisioner_api::{Event, FailCause, Order, Orders, Registered};

use super::network::Joined;
use super::register::{Facts, introduce};
use super::report::{Heard, Reporter};
use super::{check, install, reboot, wipe};
use crate::client::Backoff;
use crate::host::Host;
use crate::key::NodeKey;
use crate::screen::Screen;

/// How long the controller may hold an answer back: below what middle boxes and impatient kernels allow a silent
/// connection, and short enough to notice a disk that was plugged in.
const WAIT: Duration = Duration::from_secs(25);

/// An order that is still the same after this time is carried out again, which is harmless: the report of it was
/// lost on the other side.
const AGAIN: Duration = Duration::from_mins(1);

/// For ever. What is shown while waiting is what the controller gives as its reason.
pub fn obey(
    host: &dyn Host,
    facts: &Facts<'_>,
    joined: &mut Joined,
    key: &NodeKey,
    mut name: Registered,
    screen: &Screen,
) -> Result<()> {
    let Joined { client, mac, dhcp, .. } = joined;
    let client = &*client;
    let mut reporter = Reporter::new(client, screen, facts.boot_id.clone());
    let mut failed = None;
    if let Err(cause) = check::memory(host.memory()) {
        failed = Some(report_failure(&mut reporter, cause, screen));
    }
    let mut known = Known::of(facts);
    let mut done: Option<(u64, Instant)> = None;
    let (mut backoff, mut seen) = (Backoff::default(), None);
    loop {
        if let Err(error) = dhcp.keep_alive() {
            screen.log(&format!("{error:#}"));
        }
        if known.changed(facts) {
            name = introduce(facts, client, screen);
            known = Known::of(facts);
            seen = None;
        }
        let orders = match client.orders(seen, WAIT) {
            Ok(orders) => orders,
            Err(error) => {
                screen.say(&format!("waiting for the controller: {error}"));
                // It has forgotten this machine, or never stored it: introduce it again.
                if !error.is_temporary() {
                    name = introduce(facts, client, screen);
                }
                seen = None;
                host.sleep(backoff.pause());
                continue;
            }
        };
        backoff.reset();
        seen = Some(orders.revision);
        if done.is_some_and(|(revision, at)| revision == orders.revision && at.elapsed() < AGAIN) {
            // What was asked for is done; the controller has not drawn its conclusion yet.
            host.sleep(Duration::from_secs(1));
            continue;
        }
        let Orders { revision, order } = orders;
        if let Order::Wait { why } = order {
            wait(&why, failed.as_deref(), screen);
            continue;
        }
        let tools = install::Tools { host, client, key, mac };
        failed = carry_out(&tools, order, &mut reporter, screen);
        done = Some((revision, Instant::now()));
        screen.log(&format!("{}: order {revision} is done", name.name));
    }
}

/// One order, and its report. What stands in the way, if something does.
fn carry_out(tools: &install::Tools<'_>, order: Order, reporter: &mut Reporter<'_>, screen: &Screen) -> Option<String> {
    let host = tools.host;
    let outcome = match order {
        Order::Check { disk, need } => {
            screen.stage("Checking", "examining the disk; nothing is written to it");
            let checked = reporter.with_progress(|meter| check::run(host, &disk, need, meter));
            checked.map(|findings| Event::Checked { findings })
        }
        Order::Wipe { disk, second } => {
            screen.stage("Wiping", "discarding the disk and clearing its tables");
            let wiped = reporter.with_progress(|meter| wipe::run(host, &disk, second.as_ref(), meter));
            wiped.map(|discarded| Event::Wiped { discarded })
        }
        Order::Install(order) => {
            screen.stage(
                "Writing",
                &format!("fetching {} {}", order.image.name, order.image.version),
            );
            let written = reporter.with_progress(|meter| install::run(tools, &order, meter));
            let told = |written: install::Written| {
                for text in written.notes.iter().cloned() {
                    reporter.event(Event::Note { text });
                }
                written
            };
            written.map(told).map(|written| Event::Written {
                bytes: written.bytes,
                milliseconds: u64::try_from(written.time.as_millis()).unwrap_or(u64::MAX),
                mark: order.mark,
            })
        }
        Order::Reboot { into, why } => {
            reboot::run(host, reporter, into, &why, screen);
            return None;
        }
        // The controller takes us for the installed system: it will hear otherwise from the next registration.
        Order::Wait { .. } | Order::Serve(_) => return None,
    };
    match outcome {
        Ok(event) => {
            screen.update(|view| view.permille = None);
            if reporter.event(event) == Heard::Refused {
                screen.say("the controller has moved on meanwhile; asking what to do next");
            }
            None
        }
        Err(cause) => Some(report_failure(reporter, cause, screen)),
    }
}

fn report_failure(reporter: &mut Reporter<'_>, cause: FailCause, screen: &Screen) -> String {
    let words = cause.to_string();
    screen.alarm("Failed", &words);
    reporter.event(Event::Failed { cause });
    words
}

/// After a failure its words stay beside the controller's, in red.
fn wait(why: &str, failed: Option<&str>, screen: &Screen) {
    match failed {
        Some(words) if why.contains(words) => screen.alarm("Failed", why),
        Some(words) => screen.alarm("Failed", &format!("{words} - {why}")),
        None => screen.stage("Waiting", why),
    }
}

/// What the last registration knew, to see when another one is due.
#[derive(PartialEq, Eq)]
struct Known {
    changes: u64,
    heard: usize,
}

impl Known {
    fn of(facts: &Facts<'_>) -> Self {
        Self {
            changes: facts.watch.changes(),
            heard: facts.watch.ears.heard().len(),
        }
    }

    fn changed(&self, facts: &Facts<'_>) -> bool {
        *self != Self::of(facts)
    }
}
