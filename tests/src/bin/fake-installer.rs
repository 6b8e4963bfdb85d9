// SPDX-License-Identifier: Apache-2.0
//! The first program of a virtual PC's installer; under the name `curl`, what its answer files fetch and post with.

use std::process::ExitCode;

use tests::fake_installer::{curl, install};

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    if name.ends_with("curl") {
        return match curl::run(arguments.collect()) {
            Ok(said) => {
                print!("{said}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("curl: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    install::run()
}
