// SPDX-License-Identifier: Apache-2.0
//! Builds the RAM environment and node images of Gleaner from recipes.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use images::cli::{Build, Cli, Command, KeyCommand};
use images::key::Key;
use images::{build, verify};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verbose { "images=debug" } else { "images=warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Build(Build::Ram(args)) => build::ram::build(&args),
        Command::Build(Build::Node(args)) => build::node::build(&args),
        Command::Build(Build::Cloud(args)) => build::cloud::build(&args),
        Command::Build(Build::BootStick(args)) => build::stick::build(&args),
        Command::Prepare(args) => build::prepare(&args),
        Command::Key(KeyCommand::New { file }) => Key::create(&file).map(|key| show(&key)),
        Command::Key(KeyCommand::Show { file }) => Key::read(&file).map(|key| show(&key)),
        Command::Verify { dir, key } => verify::verify(&dir, key.as_deref()),
    }
}

fn show(key: &Key) {
    print!("{}", key.public_file());
}
