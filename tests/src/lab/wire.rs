// SPDX-License-Identifier: Apache-2.0
//! The other end of a cable: where fake firmware and fake nodes speak from.

use anyhow::Result;

use super::plug_into;
use crate::space::Space;

/// The name of the interface at the fakes' end.
const INTERFACE: &str = "wire";

/// A network namespace behind a cable of the laboratory's switch, with an address outside the pool.
pub struct Wire {
    space: Space,
    address: String,
}

impl Wire {
    pub(super) fn new(lab: &Space, switch: &str, number: u32) -> Result<Self> {
        let space = Space::new()?;
        plug_into(switch, lab, &format!("wire{number}"), &space, INTERFACE)?;
        let address = format!("10.77.0.{}", 1 + number);
        space.ip(&format!("addr add {address}/24 dev {INTERFACE}"))?;
        Ok(Self { space, address })
    }

    /// Runs `work` at this end of the cable; sockets opened and threads started in it are there too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.space.run(work)?
    }

    /// The namespaces.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Its fixed address.
    pub fn address(&self) -> &str {
        &self.address
    }
}
