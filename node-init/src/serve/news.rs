// SPDX-License-Identifier: Apache-2.0
//! Everything that can happen to an installed node, in one queue, and the threads that watch for it.
//!
//! The main loop never waits for anything but this queue: what may hang has a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use provisioner_api::{Inventory, Life, Orders, Register, Registered};

use crate::client::{Backoff, Client, ClientError};
use crate::inventory::{self, Senses};
use crate::vouch;

use super::bridging::Outcome;
use super::facts::Facts;

/// How long the controller may hold an answer back; below the minute after which routers forget a connection.
const LONG_POLL: Duration = Duration::from_secs(50);

/// Threads that parse JSON and do TLS; the default of 2 MiB would only be address space, but a limit documents.
const STACK: usize = 512 * 1024;

/// Something that happened.
pub(super) enum News {
    /// The controller knows us (again).
    Registered(Registered),
    /// The controller's current order.
    Orders(Orders),
    /// The controller did not answer, or not with sense.
    Silence(ClientError),
    /// An examination is done.
    Examined(Box<Facts>),
    /// A change of the network is done.
    Bridged(Outcome),
    /// systemd wants us to end.
    Terminate,
}

/// Starts a thread. A machine that cannot start one cannot serve, and systemd starts us again.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(work)?;
    Ok(())
}

/// Turns SIGTERM and SIGINT into news. Must come before any other thread: those inherit the mask.
pub(super) fn watch_signals(news: Sender<News>) -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    spawn("signals", move || {
        while signals.wait().is_ok() && news.send(News::Terminate).is_ok() {}
    })
}

/// Registers, then asks for orders for ever; registers again when the controller has forgotten us.
pub(super) fn watch_controller(
    client: Arc<Client>,
    boot_id: String,
    booted: Option<String>,
    news: Sender<News>,
) -> anyhow::Result<()> {
    spawn("controller", move || {
        while register(&client, &boot_id, booted.as_deref(), &news) && follow(&client, &news) {}
    })
}

/// Asks until the controller knows us. `false`: nobody listens any more.
fn register(client: &Client, boot_id: &str, booted: Option<&str>, news: &Sender<News>) -> bool {
    let mut backoff = Backoff::default();
    loop {
        // Read anew each time: disks come and go, and one of them may have been slow to appear.
        let register = Register {
            boot_id: boot_id.into(),
            life: Life::Installed,
            version: env!("CARGO_PKG_VERSION").into(),
            inventory: inventory_of(Path::new("/"), booted),
            join: None,
            vouches: vouch::is_readable_from_ram(Path::new("/")),
        };
        let answer = client.register(&register);
        drop(register);
        let sent = match answer {
            Ok(registered) => return news.send(News::Registered(registered)).is_ok(),
            Err(error) => news.send(News::Silence(error)),
        };
        if sent.is_err() {
            return false;
        }
        thread::sleep(backoff.pause());
    }
}

fn inventory_of(root: &Path, booted: Option<&str>) -> Inventory {
    inventory::read(
        root,
        &Senses {
            booted: booted.map(str::to_owned),
            ..Senses::default()
        },
    )
}

/// Long-polls. `true`: register again; `false`: nobody listens any more.
fn follow(client: &Client, news: &Sender<News>) -> bool {
    let mut backoff = Backoff::default();
    let mut seen = None;
    loop {
        match client.orders(seen, LONG_POLL) {
            Ok(orders) => {
                backoff.reset();
                // A controller that does not hold its answer back must not be asked in a tight loop.
                let again = seen.replace(orders.revision) == Some(orders.revision);
                if news.send(News::Orders(orders)).is_err() {
                    return false;
                }
                if again {
                    thread::sleep(Duration::from_secs(1));
                }
            }
            Err(error) => {
                // Who may not ask (401, 403) or is not there (404) has been forgotten: a database put back from yesterday.
                let forgotten = matches!(error.status(), Some(401 | 403 | 404));
                if news.send(News::Silence(error)).is_err() {
                    return false;
                }
                thread::sleep(backoff.pause());
                if forgotten {
                    return true;
                }
            }
        }
    }
}
