// SPDX-License-Identifier: Apache-2.0
//! The real `provisioner` in the laboratory: started, killed, restarted, asked through its socket and command line.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provisioner_api::{EventEntry, ImportLine, MediumImport, NodeDetail, NodeSummary, Verified};
use serde_json::Value;

use crate::artifacts::Artifacts;
use crate::http;
use crate::space::Space;
use crate::wait::until;

/// From start to the first answer: a new key, a new database, and listening for other DHCP servers before leasing.
const START: Duration = Duration::from_mins(1);
/// From SIGTERM to the end.
const STOP: Duration = Duration::from_secs(20);

/// The provisioner's programs, files and process.
pub struct Server {
    program: PathBuf,
    folder: PathBuf,
    public_key: Option<PathBuf>,
    config: String,
    interfaces: Vec<String>,
    space_pid: u32,
    running: Option<Child>,
}

/// What a laboratory's configuration says besides where things lie.
pub type Config = String;

impl Server {
    pub(super) fn new(artifacts: &Artifacts, lab: &Path) -> Result<Self> {
        let folder = lab.join("server");
        for name in ["config/trusted-keys", "state", "run"] {
            std::fs::create_dir_all(folder.join(name)).with_context(|| format!("making {name}"))?;
        }
        let program = artifacts.programs.join("provisioner");
        let public_key = artifacts.public_key().ok();
        Ok(Self {
            program,
            folder,
            public_key,
            config: String::new(),
            interfaces: vec![super::BRIDGE.into()],
            space_pid: 0,
            running: None,
        })
    }

    /// Serves this interface too; say so before [`Server::configure`].
    pub fn add_interface(&mut self, name: &str) {
        self.interfaces.push(name.to_owned());
    }

    /// What goes into the configuration file behind the laboratory's own: options first, then sections.
    pub fn configure(&mut self, sections: &str) -> Result<()> {
        sections.clone_into(&mut self.config);
        let text = format!(
            "site = \"Laboratory\"\ninterfaces = {:?}\npaths.config = \"{}\"\npaths.state = \"{}\"\npaths.run = \"{}\"\n\n{sections}",
            self.interfaces,
            self.folder.join("config").display(),
            self.state().display(),
            self.folder.join("run").display(),
        );
        if let Some(key) = &self.public_key {
            let to = self.folder.join("config/trusted-keys/laboratory.pub");
            std::fs::copy(key, to).context("trusting the laboratory's key")?;
        }
        std::fs::write(self.config_file(), text).context("writing the configuration")
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self, space: &Space) -> Result<()> {
        ensure!(self.running.is_none(), "the provisioner runs already");
        if !self.config_file().exists() {
            self.configure("")?;
        }
        self.space_pid = space.pid();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .context("opening the log")?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config_file()).arg("serve");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the log")?)
            .stderr(log);
        self.running = Some(space.spawn(&mut command)?);
        until("the provisioner's first answer", START, || {
            let running = self
                .running
                .as_mut()
                .map(Child::try_wait)
                .transpose()
                .context("looking at the provisioner")?;
            ensure!(
                matches!(running, Some(None)),
                "the provisioner ended at once:\n{}",
                self.log_tail(20)
            );
            Ok(self.get("/api/v1/status").ok())
        })
        .map(drop)
        .with_context(|| self.log_tail(20))
    }

    /// SIGKILL, as a crash or a pulled plug.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, as `systemctl stop`; fails if it does not end cleanly.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.running.take() else {
            return Ok(());
        };
        let pid = i32::try_from(child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("stopping the provisioner")?;
        let status = until("the provisioner's end", STOP, || {
            child.try_wait().context("waiting for the provisioner")
        })?;
        ensure!(
            status.success(),
            "the provisioner ended with {status}:\n{}",
            self.log_tail(20)
        );
        Ok(())
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config/config.toml")
    }

    /// Everything it logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Runs the command line, as an operator on this machine does.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.space_pid));
        command
            .arg(&self.program)
            .arg("--config")
            .arg(self.config_file())
            .args(arguments)
            .stdin(Stdio::null());
        let output = command.output().context("running the command line")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "provisioner {} failed: {}",
            arguments.join(" "),
            said.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Imports an image's folder.
    pub fn import(&self, folder: &Path) -> Result<()> {
        self.cli(&["image", "import", &folder.display().to_string()]).map(drop)
    }

    /// Imports the boot medium of a system, unpacked in this folder.
    pub fn import_medium(&self, os: &str, folder: &Path) -> Result<()> {
        let import = MediumImport {
            folder: folder.display().to_string(),
            os: os.into(),
            release: "made up".into(),
            source: "a laboratory".into(),
            verified: Verified::Nothing,
        };
        let import = serde_json::to_value(import).context("writing JSON")?;
        let reply = self.ask("POST", "/api/v1/media/import", Some(&import))?;
        match crate::server::last_line(&reply.text())? {
            ImportLine::Done { .. } => Ok(()),
            other => anyhow::bail!("importing {os}: {other:?}"),
        }
    }

    /// Asks the operator API over the UNIX socket.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<http::Reply> {
        let socket = self.folder.join("run/control.sock");
        let stream = UnixStream::connect(&socket).with_context(|| format!("connecting to {}", socket.display()))?;
        let limit = Some(START);
        stream
            .set_read_timeout(limit)
            .and_then(|()| stream.set_write_timeout(limit))
            .context("limiting a question")?;
        let body = body.map(Value::to_string);
        http::ask(
            stream,
            method,
            path,
            &["Connection: close"],
            body.as_deref().map(str::as_bytes),
        )
    }

    /// Gets something from the operator API.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, None)?.json()
    }

    /// All nodes.
    pub fn nodes(&self) -> Result<Vec<NodeSummary>> {
        const PART: usize = 1000;
        let mut all: Vec<NodeSummary> = Vec::new();
        loop {
            let after = all.last().map_or(String::new(), |last| format!("&after={}", last.name));
            let part = self.get(&format!("/api/v1/nodes?limit={PART}{after}"))?;
            let part: Vec<NodeSummary> = serde_json::from_value(part).context("understanding the list of nodes")?;
            let last = part.len() < PART;
            all.extend(part);
            if last {
                return Ok(all);
            }
        }
    }

    /// A node, by name or id.
    pub fn node(&self, name: &str) -> Result<NodeDetail> {
        serde_json::from_value(self.get(&format!("/api/v1/nodes/{name}"))?).context("understanding a node")
    }

    /// What happened to a node, oldest first.
    pub fn events(&self, name: &str) -> Result<Vec<EventEntry>> {
        let mut events: Vec<EventEntry> =
            serde_json::from_value(self.get(&format!("/api/v1/events?node={name}&limit=1000"))?)
                .context("understanding a node's events")?;
        events.sort_by_key(|event| event.id);
        Ok(events)
    }

    /// The words of what happened to a node, oldest first.
    pub fn kinds(&self, name: &str) -> Result<Vec<String>> {
        Ok(self.events(name)?.into_iter().map(|event| event.kind).collect())
    }

    /// Waits until `condition` holds for some node and returns that node.
    pub fn wait_for_node(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&NodeSummary) -> bool,
    ) -> Result<NodeSummary> {
        until(what, limit, || Ok(self.nodes()?.into_iter().find(&condition))).with_context(|| {
            format!(
                "nodes: {:#?}\nlog:\n{}",
                self.nodes().unwrap_or_default(),
                self.log_tail(30)
            )
        })
    }

    /// Waits until the node with this card is in this state.
    pub fn wait_for_state(&self, mac: &str, state: &str, limit: Duration) -> Result<NodeSummary> {
        let what = format!("{mac} to be {state}");
        self.wait_for_node(&what, limit, |node| {
            node.mac.as_deref() == Some(mac) && node.state == state
        })
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
