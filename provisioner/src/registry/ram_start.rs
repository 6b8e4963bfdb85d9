// SPDX-License-Identifier: Apache-2.0
//! Whether a start in RAM that shows a node's facts is let in as that node. Pure.
//!
//! Facts can be read off a label and copied, so they open a door only while the node is to start in RAM anyway, and
//! only where no other start of the node is alive.

use std::net::IpAddr;

use super::Node;
use crate::lifecycle::State;

/// The start that speaks for a node at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The address that it speaks from, as far as it is known.
    pub from: Option<IpAddr>,
    /// Whether it has said that it goes down, or has been silent for so long that it cannot be alive.
    pub gone: bool,
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
}

/// Lets a start in RAM at this address in as `node`, or says why not. Its key is not the node's yet.
pub(super) fn admit(node: &Node, from: IpAddr, present: Present) -> Result<(), TurnedAway> {
    match node.state {
        State::Ready { .. } | State::Draining { .. } | State::Installing { written: true, .. } => {
            Err(TurnedAway::Installed)
        }
        State::Rejected { .. } | State::Retired => Err(TurnedAway::NotWanted),
        // Nothing of it was approved yet: who shows these facts first is as good as who shows them next.
        State::Enrolled => Ok(()),
        State::Approved { .. }
        | State::Checking { .. }
        | State::Wiping { .. }
        | State::Installing { written: false, .. }
        | State::Failed { .. } => {
            // A machine that has started again gets the address that it had, and one address is one machine's.
            if present.gone || present.from.is_none_or(|at| at == from) {
                Ok(())
            } else {
                Err(TurnedAway::Occupied)
            }
        }
    }
}
