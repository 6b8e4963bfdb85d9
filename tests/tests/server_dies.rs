// SPDX-License-Identifier: Apache-2.0
//! The provisioner is killed at any moment and started again: nothing that it said is forgotten, and machines that
//! were on their way arrive.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::machine::{Machine, Step};
use tests::rom::Kind;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Yard};

const MACHINES: u32 = 6;
/// Starts that are ended by SIGKILL, in each round.
const KILLS: u32 = 6;
/// A start lives this long at most: the time in which a machine goes through several stages.
const LIFE: Duration = Duration::from_millis(600);
/// A machine rests this long at most between two steps.
const PACE: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_mins(4);

/// What a machine was told over its whole life.
#[derive(Clone, Debug, Default)]
struct Told {
    addresses: Vec<Ipv4Addr>,
    ids: Vec<String>,
}

/// Runs until it serves, and takes note of who it is told to be.
fn run(machine: &mut Machine, mut pace: StdRng) -> Result<Told> {
    let mut told = Told::default();
    machine.run_until(LIMIT, |step| {
        // Fakes are quicker than any machine: some time between two steps lets death find all of them.
        std::thread::sleep(pace.random_range(Duration::ZERO..PACE));
        match step {
            Step::Booted(boot) => told.addresses.push(boot.address),
            Step::Registered(registered) => told.ids.push(registered.node_id.clone()),
            _ => {}
        }
        matches!(step, Step::Serving)
    })?;
    told.addresses.dedup();
    told.ids.dedup();
    Ok(told)
}

#[test]
fn nothing_is_lost_when_the_server_is_killed_at_any_moment_of_many_installations() {
    let seed = std::env::var("GLEANER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("GLEANER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machines: Vec<Machine> = (0..MACHINES)
            .map(|number| street.machine(Kind::ALL[number as usize % Kind::ALL.len()], number))
            .collect();
        let mut before: HashMap<String, Told> = HashMap::new();
        // Twice: a first installation, then all of them rebuilt.
        for round in 1..=2 {
            let arrived = AtomicUsize::new(0);
            let told = std::thread::scope(|scope| -> Result<Vec<Told>> {
                let running: Vec<_> = machines
                    .iter_mut()
                    .map(|machine| {
                        let (pace, arrived) = (StdRng::seed_from_u64(random.random()), &arrived);
                        scope.spawn(move || {
                            let told = run(machine, pace);
                            arrived.fetch_add(1, Ordering::Relaxed);
                            told
                        })
                    })
                    .collect();
                for kill in 1..=KILLS {
                    if arrived.load(Ordering::Relaxed) == MACHINES as usize {
                        break;
                    }
                    std::thread::sleep(random.random_range(Duration::ZERO..LIFE));
                    println!(
                        "round {round}, kill {kill}, {} machines have arrived",
                        arrived.load(Ordering::Relaxed)
                    );
                    street.server.kill();
                    street.start_server()?;
                }
                running
                    .into_iter()
                    .map(|machine| machine.join().expect("a machine's thread"))
                    .collect()
            })
            .with_context(|| format!("round {round}\n{}", street.server.log_tail(40)))?;
            for (machine, told) in machines.iter().zip(told) {
                let mac = machine.rom.mac_text();
                ensure!(
                    told.addresses.len() == 1,
                    "round {round}: {mac} had the addresses {:?}",
                    told.addresses
                );
                ensure!(told.ids.len() == 1, "round {round}: {mac} was the nodes {:?}", told.ids);
                let writes = 2 * round;
                ensure!(
                    machine.disk.writes == writes,
                    "{mac}: {} writes, not {writes}",
                    machine.disk.writes
                );
                let first = before.entry(mac.clone()).or_insert_with(|| told.clone());
                ensure!(first.ids == told.ids, "{mac} became another node");
                ensure!(first.addresses == told.addresses, "{mac} got another address");
            }
            let nodes = street.server.nodes()?;
            ensure!(nodes.len() == machines.len(), "{nodes:#?}");
            ensure!(nodes.iter().all(|node| node.state == "ready"), "{nodes:#?}");
            if round == 1 {
                for node in &nodes {
                    street.command(&node.name, "rebuild")?;
                }
                for machine in &mut machines {
                    machine.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(_)))?;
                }
            }
        }
        Ok(())
    })
    .unwrap();
}
