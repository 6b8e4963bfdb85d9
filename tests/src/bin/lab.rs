// SPDX-License-Identifier: Apache-2.0
//! A laboratory to look around in: a private network with a provisioner, until standard input ends. Says how to get in.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tests::lab::Lab;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut lab = Lab::new()?;
    lab.start_server()?;
    println!("network: nsenter --net=/proc/{}/ns/net", lab.space().pid());
    println!("folder: {}", lab.folder().display());
    println!("config: {}", lab.control().config_file().display());
    println!(
        "provisioner: {}",
        lab.control().pid().context("the provisioner does not run")?
    );
    println!("ends with standard input (Ctrl-D)");
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .context("waiting for the end")?;
    Ok(())
}
