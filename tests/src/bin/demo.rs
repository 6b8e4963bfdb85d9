// SPDX-License-Identifier: Apache-2.0
//! `make demo`: two virtual PCs, one BIOS and one UEFI, from an empty disk to a node, to watch.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{SigSet, Signal};
use tests::demo::forward::forward;
use tests::demo::picture::{Picture, Row, describe};
use tests::journey::{Journey, READY};
use tests::lab::SERVER;
use tests::stopwatch::Split;
use tests::vm::{Firmware, Pc, Spec};

/// Between two looks at the nodes: quick enough for a bar that moves.
const LOOK: Duration = Duration::from_millis(500);
/// The BIOS PC is approved by this rule, the UEFI PC by a person, whose part the demo plays.
const RULE: &str = "[[auto_approve]]\nname = \"old PCs with an empty disk\"\nfirmware = \"bios\"\ndisks_empty = true\n";

struct Shown {
    pc: Pc,
    row: Row,
    power: SystemTime,
}

fn main() -> ExitCode {
    let stop = match stop_on_signals() {
        Ok(stop) => stop,
        Err(error) => return fail(&error),
    };
    match run(&stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn run(stop: &AtomicBool) -> Result<()> {
    println!("Gleaner: two virtual PCs, from an empty disk to a node that serves.\n");
    let mut journey = Journey::new(RULE)?;
    println!("  virtual PCs run by   {}", journey.accel.describe());
    let to = format!("{SERVER}:8080").parse().context("the status page's address")?;
    let page = forward(journey.lab.space().door()?, to)?;
    println!("  status page          http://{page}/");
    println!(
        "  a private network    nsenter --net=/proc/{}/ns/net\n",
        journey.lab.space().pid()
    );

    let mut picture = Picture::default();
    let mut shown = Vec::new();
    for (number, firmware, title) in [(1, Firmware::Bios, "BIOS PC"), (2, Firmware::Uefi, "UEFI PC")] {
        let mut pc = journey.pc(Spec::new(firmware, number))?;
        let power = SystemTime::now();
        journey.power_on(&mut pc)?;
        let row = Row {
            title: title.into(),
            name: String::new(),
            doing: "power button pressed".into(),
            detail: String::new(),
            permille: None,
            since: Instant::now(),
            took: None,
        };
        shown.push(Shown { pc, row, power });
    }
    watch(&journey, &mut shown, &mut picture, stop)?;
    summary(&journey, &shown, &mut picture)?;
    if std::env::var("DEMO_KEEP").is_ok_and(|keep| !keep.is_empty() && keep != "0") {
        println!("\nLeft running: http://{page}/ until Ctrl-C.");
        let server = journey.lab.control();
        println!(
            "  {} --config {} node list",
            server.program().display(),
            server.config_file().display()
        );
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

/// Draws until both are ready.
fn watch(journey: &Journey, shown: &mut [Shown], picture: &mut Picture, stop: &AtomicBool) -> Result<()> {
    let server = journey.lab.control();
    let end = Instant::now() + READY;
    let mut approved = false;
    while shown.iter().any(|pc| pc.row.took.is_none()) {
        ensure!(!stop.load(Ordering::Relaxed), "stopped");
        let nodes = server.nodes()?;
        let log = server.log();
        for Shown { pc, row, .. } in shown.iter_mut() {
            ensure!(pc.is_on(), "{} switched itself off", row.title);
            let mac = pc.spec().cards[0].mac.clone();
            let Some(node) = nodes.iter().find(|node| node.mac.as_deref() == Some(&mac)) else {
                before_it_is_a_node(&log, &mac).clone_into(&mut row.doing);
                continue;
            };
            row.name.clone_from(&node.name);
            (row.doing, row.detail, row.permille) = describe(node);
            if node.state == "installing" && starts_from_disk(&log, &node.name) {
                // Until the new system speaks, the last word is of the life before.
                (row.doing, row.detail, row.permille) = ("first start from its own disk".into(), String::new(), None);
            }
            if node.state == "failed" {
                bail!("{} failed: {}", node.name, node.reason);
            }
            if node.state == "ready" && row.took.is_none() {
                row.took = Some(row.since.elapsed().as_secs());
            }
            if node.state == "enrolled" && pc.spec().firmware == Firmware::Uefi && !approved {
                picture.say(&format!("  (a person types: provisioner node approve {})", node.name));
                server.cli(&["node", "approve", &node.name, "--yes"])?;
                approved = true;
            }
        }
        let rows: Vec<Row> = shown.iter().map(|pc| pc.row.clone()).collect();
        picture.show(&rows);
        ensure!(
            Instant::now() < end,
            "not ready after {} minutes; {}",
            READY.as_secs() / 60,
            server.log_tail(20)
        );
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// A card is not a machine yet: what the provisioner's log knows of it.
fn before_it_is_a_node(log: &str, mac: &str) -> &'static str {
    let mine = |what: &str| log.lines().any(|line| line.contains(what) && line.contains(mac));
    if mine("boot script") {
        "fetching and starting the kernel"
    } else if mine("seen mac") {
        "firmware: has an address, fetches a loader"
    } else {
        "firmware starts"
    }
}

fn starts_from_disk(log: &str, name: &str) -> bool {
    log.contains(&format!("machine=\"{name}\" decision=\"local-disk\""))
}

fn summary(journey: &Journey, shown: &[Shown], picture: &mut Picture) -> Result<()> {
    let server = journey.lab.control();
    picture.say("");
    for Shown { pc, row, power } in shown {
        let split = Split::read(server, &row.name, &pc.spec().cards[0].mac, *power)?;
        println!("{} is now {}:\n{split}\n", row.title, row.name);
    }
    print!("{}", server.cli(&["node", "list"])?);
    Ok(())
}

/// Ctrl-C ends the demo in order, so that nothing of it is left.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    // Before any other thread: they inherit it.
    signals.thread_block().context("taking signals")?;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            seen.store(true, Ordering::Relaxed);
        }
    });
    Ok(stop)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("demo: {error:#}");
    ExitCode::FAILURE
}
