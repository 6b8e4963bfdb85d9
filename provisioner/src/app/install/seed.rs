// SPDX-License-Identifier: Apache-2.0
//! The seed of a ready-made image: what its cloud-init obeys at its first start. It holds the secrets of its
//! installation, so it goes with the order, to the one machine that is being installed.

use std::net::IpAddr;

use provisioner_api::{Seed, SeedFile, mark_in_seed};
use pxe::bootfile::Server;

use super::{App, broken};
use crate::lifecycle::State;
use crate::registry::Node;

impl App {
    /// The seed for a node whose image is to be written now; nothing before that, and nothing after. The same at every
    /// question.
    pub(super) fn seed(&self, node: &Node, local: IpAddr) -> Result<Option<Seed>, String> {
        if !matches!(node.state, State::Installing { written: false, .. }) {
            return Ok(None);
        }
        let IpAddr::V4(address) = local.to_canonical() else {
            return Err("a seed names this server by its IPv4 address, and this machine came over IPv6".into());
        };
        let server = Server {
            address,
            http_port: self.config.ports.http,
        };
        let installation = self.registry.installation(&node.id).map_err(|error| broken(&error))?;
        let installation = installation.ok_or("this installation is over; it will be begun anew")?;
        let answer = self.given(node, server, &installation)?.answer;
        let files = answer.files.into_iter().map(|(name, file)| SeedFile {
            name: name.to_owned(),
            content: file.text,
        });
        // Before its first start a ready-made image has nothing else by which a loader could tell it from others.
        let mark = node.mark.iter().map(|mark| SeedFile {
            name: mark_in_seed(mark),
            content: format!("{}\n", node.name),
        });
        let seed = Seed {
            files: files.chain(mark).collect(),
        };
        seed.validate().map_err(|wrong| wrong.to_string())?;
        Ok(Some(seed))
    }
}

#[cfg(test)]
mod tests;
