// SPDX-License-Identifier: Apache-2.0
//! The installed life: be a node, say so, and let nothing that happens elsewhere end it.
//!
//! The controller may be away for ever, the clock may be wrong, libvirtd may hang, this process may be killed at any
//! moment: guests run on, and the next turn of the loop asks the same questions again. What may take long (libvirt,
//! the network, the controller's long poll) has a thread and reports back as [`News`].

mod bridging;
mod checks;
mod config;
pub(crate) mod console;
mod facts;
mod firmware;
mod news;
mod node;
mod outbox;

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use sd_notify::NotifyState;

pub use config::{CONFIG, Identity, KEY};
use news::News;
use node::Node;

/// Longest that the loop sleeps: a sixth of the watchdog's minute.
const TURN: Duration = Duration::from_secs(10);

/// `node-init serve`. Returns when systemd asks it to.
pub fn run() -> anyhow::Result<()> {
    let (sender, news) = mpsc::channel();
    news::watch_signals(sender.clone())?;
    let identity = Identity::read(Path::new("/"))?;
    let mut node = Node::new(identity, sender)?;
    node.ask_controller()?;
    tell_systemd(&[NotifyState::Ready]);
    loop {
        node.tend();
        match news.recv_timeout(node.rest().min(TURN)) {
            Ok(News::Terminate) => {
                tell_systemd(&[NotifyState::Stopping]);
                node.leave();
                return Ok(());
            }
            Ok(news) => node.hear(news),
            // The node holds a sender, so nothing can have hung up.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// Outside systemd there is nobody to tell.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd does not listen");
    }
}
