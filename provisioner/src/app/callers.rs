// SPDX-License-Identifier: Apache-2.0
//! How well those are known who connect: nodes by their keys, and by the addresses that they were last heard from.

use std::net::IpAddr;

use super::App;
use crate::http::gate::{Callers, Standing};
use crate::lifecycle::State;

impl Callers for App {
    fn by_key(&self, key: &str) -> Standing {
        self.registry
            .by_key(key)
            .map_or(Standing::Stranger, |(node, _)| standing(&node.state))
    }

    fn by_address(&self, address: IpAddr) -> Standing {
        let is_there = |id: &str| self.presence.of(id).is_some_and(|seen| seen.from == Some(address));
        let nodes = self.registry.nodes();
        let there = nodes.iter().filter(|node| is_there(&node.id));
        there
            .map(|node| standing(&node.state))
            .max()
            .unwrap_or(Standing::Stranger)
    }
}

fn standing(state: &State) -> Standing {
    match state {
        State::Retired => Standing::Stranger,
        State::Enrolled | State::Rejected { .. } => Standing::Registered,
        State::Approved { .. }
        | State::Checking { .. }
        | State::Wiping { .. }
        | State::Installing { .. }
        | State::Ready { .. }
        | State::Draining { .. }
        | State::Failed { .. } => Standing::Known,
    }
}
