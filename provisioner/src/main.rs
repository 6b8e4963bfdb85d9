// SPDX-License-Identifier: Apache-2.0
//! The provisioner's command line; a line a capability.

use std::process::ExitCode;

use clap::Parser;
use provisioner::cli::{Arguments, Command, check, image, init, node, status, token};
use provisioner::config::Config;
use provisioner::serve;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("provisioner: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let json = arguments.json;
    let load = || Config::load(arguments.config.as_deref());
    match &arguments.command {
        Command::Serve => serve::run(load()?),
        Command::CheckConfig => check::run(&load()?, json),
        Command::Init(what) => init::run(&load()?, what),
        Command::Node(command) => node::run(&load()?, command, json),
        Command::Image(command) => image::run(&load()?, command, json),
        Command::Token(command) => token::run(&load()?, command, json),
        Command::Status => status::run(&load()?, json),
    }
}
