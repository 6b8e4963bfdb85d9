// SPDX-License-Identifier: Apache-2.0
//! Whether a start in RAM that shows a node's facts is let in as that node.
//!
//! Facts can be read off a label and copied, so they open a door only while the node is to start in RAM anyway, and
//! only where no other start of the node is alive. Where its installed system was alive when it was told to start in RAM,
//! that system's key, which lies on its disk, has to vouch for the start.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entry, Node, Registry, RegistryError, apply, history};
use crate::lifecycle::{Event, Refused, State};

/// The start that speaks for a node at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The address that it speaks from, as far as it is known.
    pub from: Option<IpAddr>,
    /// Whether it has said that it goes down, or has been silent for so long that it cannot be alive.
    pub gone: bool,
}

/// What has to speak for the next start in RAM as a node that is to be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vouching {
    /// Its facts have to do: there was no installed system that could vouch.
    #[default]
    Facts,
    /// The key of the installed system, or a person; neither has spoken yet.
    Wanted,
    /// One of them has spoken, for the start with this key.
    For(String),
}

/// Why a start in RAM that shows a node's facts is not let in as that node. Nothing of the node is changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    /// The node is installed, and nobody told it to start from the network.
    #[error("the node is installed and was not told to start from the network")]
    Installed,
    /// The node is not wanted in the cluster.
    #[error("the node is not wanted in the cluster")]
    NotWanted,
    /// Another start of the node is alive at another address.
    #[error("another start of the node is alive at another address")]
    Occupied,
    /// The key of the node's installed system has to vouch for it, or a person.
    #[error("the key on the node's disk did not vouch for it")]
    Unproven,
}

/// Lets a start in RAM with this key, at this address, in as `node`, or says why not. The key is not the node's yet.
pub(super) fn admit(node: &Node, key: &str, from: IpAddr, present: Present) -> Result<(), TurnedAway> {
    match (&node.state, &node.vouching) {
        (State::Ready { .. } | State::Draining { .. } | State::Installing { written: true, .. }, _) => {
            Err(TurnedAway::Installed)
        }
        (State::Rejected { .. } | State::Retired, _) => Err(TurnedAway::NotWanted),
        // Nothing of it was approved yet: who shows these facts first is as good as who shows them next.
        (State::Enrolled, _) => Ok(()),
        (_, Vouching::For(other)) if other == key => Ok(()),
        (_, Vouching::Wanted | Vouching::For(_)) => Err(TurnedAway::Unproven),
        // A machine that has started again gets the address that it had, and one address is one machine's.
        (_, Vouching::Facts) if present.gone || present.from.is_none_or(|at| at == from) => Ok(()),
        (_, Vouching::Facts) => Err(TurnedAway::Occupied),
    }
}

impl Registry {
    /// An operator wants a node installed again. `vouches`: its installed system is there to vouch for the start in RAM
    /// that is to follow.
    pub fn rebuild(
        &self,
        id: &str,
        event: &Event,
        vouches: bool,
        actor: &str,
        now: i64,
    ) -> Result<Arc<Node>, RegistryError> {
        self.change(id, |db, node| {
            apply::apply_to(db, node, event, actor, now)?;
            if vouches && matches!(node.state, State::Approved { .. }) {
                node.vouching = Vouching::Wanted;
            }
            Ok(())
        })
    }

    /// The start in RAM with the key `start` is the node's machine: `entry` says who knows that.
    pub fn vouch(&self, id: &str, start: &str, entry: &Entry, now: i64) -> Result<Arc<Node>, RegistryError> {
        self.change(id, |db, node| {
            if !matches!(node.state, State::Approved { .. }) {
                let hint = ": it is not waiting to be installed";
                return Err(Refused {
                    state: node.state.word(),
                    verb: "vouched for",
                    hint,
                }
                .into());
            }
            node.vouching = Vouching::For(start.to_owned());
            history::write_down(db, Some(id), entry, now)
        })
    }
}
