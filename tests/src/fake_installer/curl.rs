// SPDX-License-Identifier: Apache-2.0
//! As much of curl as the answer files use, where none is installed.

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::http;
use crate::rom;

/// Tries, where `--retry` asks for some.
const TRIES: u32 = 5;
/// Between two tries.
const AGAIN: Duration = Duration::from_secs(2);

/// Does what the arguments say; what is printed.
pub fn run(arguments: Vec<String>) -> Result<String> {
    let (mut fails, mut tries, mut output, mut data, mut format, mut url) = (false, 1, None, None, None, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} without a value"));
        match argument.as_str() {
            "--retry" => {
                value()?;
                tries = TRIES;
            }
            "--max-time" | "-H" => drop(value()?),
            "--retry-connrefused" => {}
            "-o" => output = Some(value()?),
            "-w" => format = Some(value()?),
            "--data-binary" => data = Some(value()?),
            short if short.starts_with('-') && short.chars().skip(1).all(|c| "fsS".contains(c)) => {
                fails |= short.contains('f');
            }
            long if long.starts_with('-') => bail!("{long} is not understood"),
            address => url = Some(address.to_owned()),
        }
    }
    let url = url.context("no URL")?;
    let body = match data.as_deref() {
        Some("@-") => {
            let mut body = Vec::new();
            std::io::stdin()
                .read_to_end(&mut body)
                .context("reading what is to be posted")?;
            Some(body)
        }
        Some(text) => Some(text.as_bytes().to_vec()),
        None => None,
    };
    let reply = loop {
        tries -= 1;
        match ask(&url, body.as_deref()) {
            Ok(reply) => break reply,
            Err(error) if tries == 0 => return Err(error),
            Err(_) => std::thread::sleep(AGAIN),
        }
    };
    ensure!(!fails || reply.status < 400, "{url} was answered with {}", reply.status);
    match output.as_deref() {
        Some("/dev/null") => {}
        Some(path) => std::fs::write(path, &reply.body).with_context(|| format!("writing {path}"))?,
        None => return Ok(reply.text()),
    }
    Ok(format.map_or_else(String::new, |format| {
        format.replace("%{http_code}", &reply.status.to_string())
    }))
}

fn ask(url: &str, body: Option<&[u8]>) -> Result<http::Reply> {
    let (host, path) = rom::parts(url)?;
    let stream = rom::connect(Ipv4Addr::UNSPECIFIED, host)?;
    let method = if body.is_some() { "POST" } else { "GET" };
    http::ask(stream, method, &path, &["Connection: close"], body)
}
