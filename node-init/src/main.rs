// SPDX-License-Identifier: Apache-2.0
//! One program, two lives: process 1 of the environment in RAM, and a service of the installed system.

use std::path::Path;

use anyhow::{Result, bail};
use node_init::inventory::{self, Senses};
use node_init::network::lease;
use node_init::{bridge, join, sequence, serve};

const HELP: &str = "usage: node-init [serve | join | network-rollback [--boot] | inventory | --version]

As process 1 (/init of the environment in RAM) it takes no argument.
  serve      be the service of an installed node (/etc/node-init/config.json)
  join       introduce a system that an installer made, once (/etc/node-init/join)
  network-rollback
             undo a change to a bridge that nobody confirmed (systemd runs it; --boot: before the network starts)
  inventory  print what this machine is made of, as JSON
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let name = words
        .first()
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or_default();
    match (std::process::id(), name, words.get(1..).unwrap_or_default()) {
        (_, lease::SCRIPT, [event, ..]) => lease::handle(event),
        (1, ..) => sequence::supervise(),
        (_, _, [sequence::WORKER]) => sequence::work(),
        (_, _, ["serve"]) => logged(serve::run),
        (_, _, ["join"]) => logged(join::run),
        (_, _, ["network-rollback"]) => logged(|| bridge::network_rollback(false)),
        (_, _, ["network-rollback", "--boot"]) => logged(|| bridge::network_rollback(true)),
        (_, _, ["inventory"]) => print_inventory(),
        (_, _, ["--version" | "-V"]) => {
            println!("node-init {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        (_, _, ["--help" | "-h"]) => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("{HELP}"),
    }
}

/// Services of the installed system log to the journal, which knows the time and wants no colours.
fn logged(service: impl FnOnce() -> Result<()>) -> Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .init();
    service()
}

fn print_inventory() -> Result<()> {
    let inventory = inventory::read(Path::new("/"), &Senses::default());
    println!("{}", serde_json::to_string_pretty(&inventory)?);
    Ok(())
}
