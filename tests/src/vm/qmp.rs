// SPDX-License-Identifier: Apache-2.0
//! QEMU's control protocol: one JSON object a line over a UNIX socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// QEMU opens the socket before it starts the machine, well within this.
const START: Duration = Duration::from_secs(20);

/// A connection to one QEMU.
pub struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects and shakes hands; waits for a QEMU that is just starting.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = crate::wait::until("QEMU's control socket", START, || Ok(UnixStream::connect(socket).ok()))?;
        stream
            .set_read_timeout(Some(START))
            .context("limiting the wait for QEMU")?;
        let mut qmp = Self {
            lines: BufReader::new(stream),
        };
        qmp.read().context("reading QEMU's greeting")?;
        qmp.command("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its answer; events that come in between are passed over.
    pub fn command(&mut self, name: &str, arguments: &Value) -> Result<Value> {
        let line = format!("{}\n", json!({ "execute": name, "arguments": arguments }));
        self.lines
            .get_mut()
            .write_all(line.as_bytes())
            .with_context(|| format!("sending {name} to QEMU"))?;
        loop {
            let mut answer = self
                .read()
                .with_context(|| format!("waiting for the answer to {name}"))?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused {name}: {error}");
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).context("reading from QEMU")?;
        serde_json::from_str(&line).with_context(|| format!("understanding QEMU's {line:?}"))
    }
}
