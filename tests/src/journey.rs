// SPDX-License-Identifier: Apache-2.0
//! What the journeys of virtual PCs have in common: the images of `make images`, an operator with an SSH key, and how
//! long things may take.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use provisioner_api::NodeSummary;

use crate::lab::Lab;
use crate::made_up::Signature;
use crate::made_up::changed::{self, Loader};
use crate::stopwatch::Split;
use crate::vm::{Accel, Pc, Spec};
use crate::wait::until;

/// Power-on to an entry in the list of nodes: half a minute under software virtualization with nothing else running,
/// and there is always something else running.
pub const ENROL: Duration = Duration::from_mins(6);
/// Power-on to Ready: four minutes under software virtualization on an idle machine.
pub const READY: Duration = Duration::from_mins(25);
/// A program on a node, sshd's first answer included.
const REMOTE: Duration = Duration::from_mins(4);

/// The configuration of the journeys: signs of life often enough that losing one shows soon.
const SITE: &str = "[nodes]\nheartbeat = \"2s\"\nlost_after = \"20s\"\n\n";
/// Approves every machine with an empty disk.
pub const EMPTY_DISKS: &str = "[[auto_approve]]\nname = \"empty disks\"\ndisks_empty = true\n\n";

/// A laboratory with the real images, for virtual PCs.
pub struct Journey {
    /// The laboratory.
    pub lab: Lab,
    /// How PCs run.
    pub accel: Accel,
    ssh_key: PathBuf,
}

impl Journey {
    /// A running provisioner with the images imported and these sections of configuration besides the usual ones.
    pub fn new(sections: &str) -> Result<Self> {
        let mut journey = Self::dark(sections)?;
        journey.lab.start_server()?;
        journey.lab.import_images()?;
        Ok(journey)
    }

    /// The same with other loaders in the RAM environment.
    pub fn with_loaders(sections: &str, change: impl Fn(&str) -> Loader) -> Result<Self> {
        let mut journey = Self::dark(sections)?;
        let signature = Signature::new();
        let config = journey.lab.server().config_file();
        let keys = config.with_file_name("trusted-keys");
        signature.trust(&keys, "made-up")?;
        journey.lab.start_server()?;
        let (ram, node) = (journey.lab.artifacts.ram()?, journey.lab.artifacts.node_image()?);
        let ram = changed::ram(&ram, journey.lab.folder(), &signature, change)?;
        journey.lab.server().import(&ram)?;
        journey.lab.server().import(&node)?;
        Ok(journey)
    }

    /// The same with the provisioner not started and nothing imported.
    pub fn dark(sections: &str) -> Result<Self> {
        let mut lab = Lab::new()?.with_router_advertisements()?;
        let accel = lab.accel()?;
        let ssh_key = lab.folder().join("ssh-key");
        let mut keygen = Command::new("ssh-keygen");
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "laboratory", "-f"])
            .arg(&ssh_key);
        let made = keygen.status().context("running ssh-keygen (package openssh-client)")?;
        ensure!(made.success(), "ssh-keygen failed");
        let public = std::fs::read_to_string(ssh_key.with_extension("pub")).context("reading the operator's key")?;
        let profile = format!(
            "[profiles.compute]\nkernel_args = \"console=tty0 console=ttyS0,115200\"\nssh_keys = [\"{}\"]\n\n",
            public.trim()
        );
        lab.server().configure(&format!("{SITE}{profile}{sections}"))?;
        Ok(Self { lab, accel, ssh_key })
    }

    /// A PC in the switch; it is off.
    pub fn pc(&mut self, spec: Spec) -> Result<Pc> {
        self.lab.pc(spec, self.accel)
    }

    /// Switches a PC on.
    pub fn power_on(&self, pc: &mut Pc) -> Result<()> {
        pc.power_on(self.lab.space())
    }

    /// Waits until the node in this PC is in this state; on failure shows what the PC said.
    pub fn wait_for(&mut self, pc: &mut Pc, state: &str, limit: Duration) -> Result<NodeSummary> {
        let mac = pc.spec().cards[0].mac.clone();
        let server = self.lab.server();
        let found = until(&format!("{mac} to be {state}"), limit, || {
            let node = server
                .nodes()?
                .into_iter()
                .find(|node| node.mac.as_deref() == Some(&mac));
            if let Some(node) = &node {
                let stuck = node.state == "failed" && state != "failed";
                ensure!(!stuck, "{} failed: {}", node.name, node.reason);
            }
            Ok(node.filter(|node| node.state == state))
        });
        found.with_context(|| self.evidence(pc))
    }

    /// Prints how long a machine that is ready now took from the power button, split by stage.
    pub fn tell_the_time(&self, node: &NodeSummary, power: SystemTime) -> Result<()> {
        let mac = node.mac.as_deref().context("the node has no card")?;
        let split = Split::read(self.lab.control(), &node.name, mac, power)?;
        // Past the test harness, which keeps what a passing test prints to itself.
        writeln!(std::io::stderr(), "{} ({}):\n{split}", node.name, node.firmware).context("printing")
    }

    /// What there is to look at when a story went wrong.
    pub fn evidence(&mut self, pc: &mut Pc) -> String {
        let said = pc.serial().text();
        let said: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let said = said[said.len().saturating_sub(60)..].join("\n");
        let server = self.lab.server();
        format!(
            "--- the PC's serial line ends with:\n{said}\n--- the provisioner's log ends with:\n{}\n--- nodes: {:#?}",
            server.log_tail(40),
            server.nodes().unwrap_or_default()
        )
    }

    /// Runs a program on a node as its operator does: SSH, with the key that the configuration names.
    pub fn ssh(&self, node: &NodeSummary, script: &str) -> Result<String> {
        self.lab.space().run_program(&mut self.ssh_command(node, script)?)
    }

    /// Copies a file of this machine onto a node; folders are made.
    pub fn copy(&self, node: &NodeSummary, from: &Path, to: &str) -> Result<()> {
        let mut command = self.ssh_command(node, &format!("install -D /dev/stdin {to}"))?;
        let file = File::open(from).with_context(|| format!("opening {}", from.display()))?;
        let output = self
            .lab
            .space()
            .run(|| command.stdin(file).output())?
            .context("running ssh")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "copying {}: {}", from.display(), said.trim());
        Ok(())
    }

    fn ssh_command(&self, node: &NodeSummary, script: &str) -> Result<Command> {
        let address = node.address.as_deref().context("the node has no address")?;
        let address = address.split([':', '/']).next().unwrap_or(address);
        let mut command = Command::new("ssh");
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
            "ConnectTimeout=20",
            "ServerAliveInterval=20",
        ] {
            command.args(["-o", option]);
        }
        command.arg("-i").arg(&self.ssh_key);
        command.arg(format!("root@{address}")).arg(script);
        Ok(command)
    }

    /// The same, again and again until it succeeds.
    pub fn ssh_until_it_works(&self, node: &NodeSummary, script: &str) -> Result<String> {
        let mut last = None;
        let found = until("a program on the node", REMOTE, || match self.ssh(node, script) {
            Ok(said) => Ok(Some(said)),
            Err(error) => {
                last = Some(error);
                Ok(None)
            }
        });
        found.with_context(|| format!("{last:?}"))
    }
}
