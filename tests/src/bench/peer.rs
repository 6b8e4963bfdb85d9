// SPDX-License-Identifier: Apache-2.0
//! The peers: programs that people already run for this, started where the provisioner would be.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{BRIDGE, SERVER};
use crate::rom;
use crate::server::Yard;
use crate::wait::until;

/// From start to the first answer.
const START: Duration = Duration::from_secs(20);
/// nginx's port.
pub const NGINX_PORT: u16 = 8081;

/// A running peer; it ends with this.
pub struct Peer(Child);

impl Peer {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// dnsmasq with the same pool as the provisioner, and a folder for TFTP. It does not ping addresses before it offers
/// them, as the provisioner does not.
pub fn dnsmasq(yard: &Yard, pool: (&str, &str), tftp: &Path) -> Result<Peer> {
    let leases = yard.lab.folder().join("dnsmasq.leases");
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--no-ping",
        "--bind-dynamic",
    ]);
    command.arg(format!("--interface={BRIDGE}"));
    command
        .arg(format!("--dhcp-range={},{},1h", pool.0, pool.1))
        .arg("--dhcp-lease-max=100000");
    command.args([
        "--dhcp-authoritative",
        "--log-facility=/dev/null",
        "--quiet-dhcp",
        "--dhcp-boot=undionly.kpxe",
    ]);
    command.arg(format!("--dhcp-leasefile={}", leases.display()));
    command
        .arg("--enable-tftp")
        .arg(format!("--tftp-root={}", tftp.display()))
        .arg("--tftp-max=1000");
    Ok(Peer(
        yard.lab
            .space()
            .spawn(quiet(&mut command))
            .context("starting dnsmasq (package dnsmasq-base)")?,
    ))
}

/// nginx with a folder of files and two workers.
pub fn nginx(yard: &Yard, program: &Path, files: &Path) -> Result<Peer> {
    let place = yard.lab.folder().join("nginx");
    std::fs::create_dir_all(&place).context("making nginx's folder")?;
    let config = place.join("nginx.conf");
    let text = format!(
        "user root;\ndaemon off;\nworker_processes 2;\npid {0}/pid;\nerror_log {0}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
         fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         server {{ listen {NGINX_PORT}; root {1}; }} }}\n",
        place.display(),
        files.display()
    );
    std::fs::write(&config, text).context("writing nginx's configuration")?;
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(&place)
        .arg("-e")
        .arg(place.join("error.log"))
        .arg("-c")
        .arg(&config);
    let mut peer = Peer(yard.lab.space().spawn(quiet(&mut command)).context("starting nginx")?);
    let from = yard.wire.address().parse().context("the cable's address")?;
    until("nginx's first answer", START, || {
        ensure!(matches!(peer.0.try_wait(), Ok(None)), "nginx ended: {}", log(&place));
        let asked = yard
            .wire
            .run(|| rom::get(from, &format!("http://{SERVER}:{NGINX_PORT}/")));
        Ok(asked.ok().map(drop))
    })?;
    Ok(peer)
}

fn log(place: &Path) -> String {
    std::fs::read_to_string(place.join("error.log")).unwrap_or_default()
}

/// nginx where it is installed; else out of Debian's package, unpacked into the cache and not installed.
pub fn find_nginx(cache: &Path) -> Result<PathBuf> {
    let unpacked = cache.join("bench/nginx");
    let candidates = [PathBuf::from("/usr/sbin/nginx"), unpacked.join("usr/sbin/nginx")];
    if let Some(found) = candidates.iter().find(|path| path.exists()) {
        return Ok(found.clone());
    }
    std::fs::create_dir_all(&unpacked).context("making a folder for nginx")?;
    run(Command::new("apt-get")
        .args(["download", "nginx"])
        .current_dir(&unpacked))?;
    let package = std::fs::read_dir(&unpacked)
        .context("looking for the package")?
        .flatten()
        .map(|entry| entry.path());
    let package = package
        .into_iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "deb"));
    let package = package.context("apt-get downloaded nothing")?;
    run(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
    ensure!(candidates[1].exists(), "there is no nginx in {}", package.display());
    Ok(candidates[1].clone())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim())
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}
