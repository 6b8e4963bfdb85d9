// SPDX-License-Identifier: Apache-2.0
//! The provisioner's command line; a line a capability.

use std::process::ExitCode;

use clap::Parser;
use provisioner::cli::{
    Arguments, Command, check, doctor, enrol, image, init, node, os, packages, status, template, token,
};
use provisioner::config::Config;
use provisioner::serve;
use provisioner::templates::trial;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("provisioner: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out a command; whether all is well.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let json = arguments.json;
    let load = || Config::load(arguments.config.as_deref());
    match &arguments.command {
        Command::Serve => serve::run(load()?),
        Command::CheckConfig => check::run(&load()?, json),
        Command::TryTemplates => trial::run(),
        Command::Init(what) => init::run(&load()?, what),
        Command::Node(command) => node::run(&load()?, command, json),
        Command::Enrol(command) => enrol::run(&load()?, command, json),
        Command::Image(command) => image::run(&load()?, command, json),
        Command::Os(command) => os::run(&load()?, command, json),
        Command::Packages(command) => packages::run(&load()?, command, json),
        Command::Template(command) => return template::run(&load()?, command, json),
        Command::Token(command) => token::run(&load()?, command, json),
        Command::Status => status::run(&load()?, json),
        Command::Doctor => return doctor::run(&load()?, json),
    }?;
    Ok(true)
}
