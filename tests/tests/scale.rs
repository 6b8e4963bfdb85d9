// SPDX-License-Identifier: Apache-2.0
//! Many machines at once: a room is switched on with one lever. (A thousand of them are in `make bench`.)
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::machine::Machine;
use tests::rom::Kind;
use tests::server::{ALONE, EVERYBODY, Yard};

/// A large classroom.
const MACHINES: u32 = 100;
/// For all of them together, on two busy processors.
const LIMIT: Duration = Duration::from_mins(4);
/// A quarter of a pool is kept for known machines: 9 bits hold them all.
const PREFIX: u8 = 22;

#[test]
fn a_room_full_of_machines_that_start_at_once_becomes_a_room_full_of_nodes() {
    let mut yard = Yard::dark(PREFIX, &format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.lab.start_server().unwrap();
    yard.import_images().unwrap();
    yard.tell(|street| {
        let mut machines: Vec<Machine> = (0..MACHINES)
            .map(|number| street.machine(Kind::ALL[number as usize % Kind::ALL.len()], number))
            .collect();
        std::thread::scope(|scope| -> Result<()> {
            let running: Vec<_> = machines
                .iter_mut()
                .map(|m| scope.spawn(|| m.run_until_serving(LIMIT)))
                .collect();
            running
                .into_iter()
                .try_for_each(|machine| machine.join().expect("a machine's thread"))
        })?;
        let nodes = street.server.nodes()?;
        ensure!(nodes.len() == MACHINES as usize, "{} nodes", nodes.len());
        ensure!(nodes.iter().all(|node| node.state == "ready"), "{nodes:#?}");
        let names: BTreeSet<_> = nodes.iter().map(|node| &node.name).collect();
        let addresses: BTreeSet<_> = nodes.iter().map(|node| &node.address).collect();
        ensure!(
            names.len() == nodes.len() && addresses.len() == nodes.len(),
            "a name or address was given twice"
        );
        ensure!(
            machines.iter().all(|machine| machine.disk.writes == 2),
            "a machine was written more than once"
        );
        Ok(())
    })
    .unwrap();
}
