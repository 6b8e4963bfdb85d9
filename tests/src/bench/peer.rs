// SPDX-License-Identifier: Apache-2.0
//! The peers: programs that people already run for this, started where the provisioner would be.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::lab::{BRIDGE, SERVER};
use crate::peer::Program;
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
pub fn nginx(yard: &Yard, program: &Program, files: &Path) -> Result<Peer> {
    let place = yard.lab.folder().join("nginx");
    std::fs::create_dir_all(&place).context("making nginx's folder")?;
    let config = place.join("nginx.conf");
    let text = format!(
        "user root;\ndaemon off;\nworker_processes 2;\npid {0}/pid;\nerror_log {0}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; open_file_cache max=100; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
         fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         server {{ listen {NGINX_PORT}; root {1}; }} }}\n",
        place.display(),
        files.display()
    );
    std::fs::write(&config, text).context("writing nginx's configuration")?;
    let mut command = program.command();
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

/// Kea with the same pool as the provisioner, its leases in a file, as it comes: with two threads or without.
pub fn kea(yard: &Yard, program: &Program, network: &str, pool: &str, threads: bool) -> Result<Peer> {
    let place = yard.lab.folder().join("kea");
    std::fs::create_dir_all(place.join("run")).context("making Kea's folder")?;
    let config = json!({ "Dhcp4": {
        "interfaces-config": { "interfaces": [BRIDGE], "dhcp-socket-type": "raw" },
        "lease-database": { "type": "memfile", "name": place.join("leases.csv"), "lfc-interval": 0 },
        "multi-threading": { "enable-multi-threading": threads, "thread-pool-size": 2, "packet-queue-size": 64 },
        "valid-lifetime": 3600,
        "authoritative": true,
        "client-classes": [{
            "name": "uefi", "test": "option[93].hex == 0x0007",
            "boot-file-name": "ipxe.efi", "next-server": SERVER }],
        "subnet4": [{ "subnet": network, "pools": [{ "pool": pool }] }],
        "loggers": [{
            "name": "kea-dhcp4", "severity": "ERROR", "output_options": [{ "output": place.join("log") }] }],
    }});
    let file = place.join("kea.json");
    std::fs::write(&file, config.to_string()).context("writing Kea's configuration")?;
    let mut command = program.command();
    command
        .arg("-c")
        .arg(&file)
        .env("KEA_PIDFILE_DIR", place.join("run"))
        .env("KEA_LOCKFILE_DIR", place.join("run"))
        .env("KEA_LOGGER_DESTINATION", "stderr");
    Ok(Peer(
        yard.lab.space().spawn(quiet(&mut command)).context("starting Kea")?,
    ))
}

/// atftpd with a folder of files.
pub fn atftpd(yard: &Yard, program: &Program, files: &Path) -> Result<Peer> {
    let mut command = program.command();
    command.args([
        "--daemon",
        "--no-fork",
        "--bind-address",
        SERVER,
        "--user=root.root",
        "--maxthread=1000",
        "--logfile=/dev/null",
    ]);
    command.arg(files);
    Ok(Peer(
        yard.lab.space().spawn(quiet(&mut command)).context("starting atftpd")?,
    ))
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}
