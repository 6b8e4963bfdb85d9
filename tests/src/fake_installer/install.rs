// SPDX-License-Identifier: Apache-2.0
//! From the kernel's command line to a machine that starts again.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::families::{self, Answers};
use super::{curl, disk};
use crate::installer;
use crate::rom;

/// Where the installed system is while it is made.
const TARGET: &str = "/target";
/// Programs that installers have and the RAM environment does not, and what udhcpc calls.
pub(super) const HELPERS: [(&str, &str); 3] = [
    ("usr/bin/udevadm", "#!/bin/sh\nexit 0\n"),
    (
        "usr/bin/curtin",
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec chroot /target \"$@\"\n",
    ),
    (
        "usr/bin/lease",
        "#!/bin/sh\n[ \"$1\" = bound ] || [ \"$1\" = renew ] || exit 0\nip addr flush dev \"$interface\"\n\
         ip addr add \"$ip/${mask:-24}\" dev \"$interface\"\n",
    ),
];
/// What the distribution's packages would have brought, and our node image does not have.
const BROUGHT: [(&str, &str); 2] = [
    (
        "etc/systemd/network/80-dhcp.network",
        "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\n\n[DHCPv4]\nClientIdentifier=mac\n",
    ),
    // Units that the distribution has, and our node image has under other names or not at all.
    (
        "usr/local/bin/systemctl",
        "#!/bin/sh\ncase $2 in sshd.service | chronyd.service | NetworkManager.service) exit 0 ;; esac\n\
         exec /usr/bin/systemctl \"$@\"\n",
    ),
];
/// Installs, and starts the machine again.
pub fn run() -> ExitCode {
    match install() {
        Ok(()) => say("done"),
        Err(error) => {
            say(&format!("failed: {error:#}"));
            // For whoever reads the serial line.
            std::thread::sleep(Duration::from_secs(5));
        }
    }
    let _ = sh("sync; reboot -f");
    ExitCode::FAILURE
}

fn install() -> Result<()> {
    sh("mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev")?;
    sh(
        "mkdir -p /run /tmp /target /dev/disk/by-path; modprobe -a -q -b af_packet ext4; \
        for round in 1 2 3; do find /sys/devices -name modalias -exec cat {} + 2>/dev/null | sort -u | \
        xargs modprobe -a -q -b 2>/dev/null; sleep 1; done; true",
    )?;
    let line = fs::read_to_string("/proc/cmdline").context("reading the command line")?;
    let arguments: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
    let argument = |name: &str| {
        arguments
            .iter()
            .find_map(|word| word.strip_prefix(name))
            .map(str::to_owned)
    };
    network(&argument("BOOTIF=01-").context("no BOOTIF=")?)?;

    let (first, _) = installer::answers(&arguments)?;
    let reply = rom::get(Ipv4Addr::UNSPECIFIED, &first)?;
    ensure!(reply.status == 200, "{first} was answered with {}", reply.status);
    let name = first.rsplit('/').next().unwrap_or_default();
    let answers = families::read(name, &reply.text(), argument)?;
    families::lay(name, &reply.text())?;
    say(&format!("obeying {name}"));
    script(&answers.pre).context("the first script")?;
    let disk = families::chosen(&answers)?;
    tell(&answers, "installing the system")?;
    if let Some(packages) = &answers.packages {
        script(packages).context("the script before packages")?;
    }
    say(&format!("onto {disk} from {}", answers.mirror));
    let root = disk::write(&answers.mirror, &disk)?;
    target(&disk, root)?;
    time(&answers.time)?;
    if answers.in_target {
        fs::write(format!("{TARGET}/root/late.sh"), &answers.late).context("writing the last script")?;
        sh("chroot /target sh /root/late.sh && rm /target/root/late.sh").context("the last script")?;
    } else {
        script(&answers.late).context("the last script")?;
    }
    sh(
        "cat /target/var/log/gleaner-install.log 2>/dev/null; rm -f /target/usr/local/bin/curl \
        /target/usr/local/bin/systemctl; [ ! -e /target/etc/chrony.d/gleaner.conf ] || \
        cat /target/etc/chrony.d/gleaner.conf >>/target/etc/chrony/conf.d/gleaner.conf; \
        umount /target/dev /target/proc /target/sys; umount /target",
    )
}

/// The card that the loader used, by DHCP.
fn network(mac: &str) -> Result<()> {
    let mac = mac.replace('-', ":").to_lowercase();
    let cards = fs::read_dir("/sys/class/net").context("looking for cards")?;
    let is_it =
        |path: &std::path::Path| fs::read_to_string(path.join("address")).is_ok_and(|address| address.trim() == mac);
    let card = cards
        .flatten()
        .find(|card| is_it(&card.path()))
        .with_context(|| format!("no card {mac}"))?;
    let name = card.file_name().to_string_lossy().into_owned();
    sh(&format!(
        "ip link set {name} up; udhcpc -i {name} -q -n -t 20 -s /usr/bin/lease"
    ))
}

/// Opens the installed system, and brings what its packages would have.
fn target(disk: &str, root: u32) -> Result<()> {
    let partition = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    sh(&format!(
        "blockdev --rereadpt /dev/{disk}; for try in 1 2 3 4 5; do [ -b /dev/{disk}{partition}{root} ] || sleep 1; done; \
         mount -t ext4 /dev/{disk}{partition}{root} {TARGET}"
    ))?;
    sh(
        "mount -o bind /dev /target/dev; mount -o bind /proc /target/proc; mount -o bind /sys /target/sys; \
        mkdir -p /target/usr/local/bin /target/etc/systemd/network; cp /usr/bin/curl /target/usr/local/bin/curl",
    )?;
    for (place, text) in BROUGHT {
        fs::write(format!("{TARGET}/{place}"), text).with_context(|| format!("bringing {place}"))?;
        sh(&format!("chmod 0755 {TARGET}/{place}"))?;
    }
    fs::write(
        format!("{TARGET}/boot/grub/gleaner.cfg"),
        "set gleaner_args=\"console=tty0 console=ttyS0,115200\"\n",
    )
    .context("setting the boot loader up")
}

/// What an installer makes of the time servers that it is given, for the chrony of our node image.
fn time(servers: &[String]) -> Result<()> {
    let lines = servers
        .iter()
        .map(|server| format!("server {server} iburst minpoll 4\n"));
    let text = lines.collect::<Vec<_>>().concat() + "makestep 1 -1\n";
    fs::write(format!("{TARGET}/etc/chrony/conf.d/gleaner.conf"), text).context("naming time servers")
}

fn tell(answers: &Answers, what: &str) -> Result<()> {
    let Some(url) = &answers.webhook else { return Ok(()) };
    let event = serde_json::json!({ "name": "subiquity/Install/install", "description": what, "event_type": "start" });
    curl::run(vec!["--data-binary".into(), event.to_string(), url.clone()]).map(drop)
}

/// Runs a script as the installer would: from a file, by the shell.
fn script(text: &str) -> Result<()> {
    fs::write("/tmp/script", text).context("writing a script")?;
    sh("sh /tmp/script")
}

/// Where who watches a virtual PC reads: no answer file sends an installer's words there.
fn line() -> Option<fs::File> {
    OpenOptions::new().write(true).open("/dev/ttyS0").ok()
}

fn say(words: &str) {
    if let Some(mut line) = line() {
        // Nobody hears it who could be told.
        let _ = write!(line, "FAKE INSTALLER: {words}\r\n");
    }
}

fn sh(command: &str) -> Result<()> {
    let mut shell = Command::new("/bin/sh");
    if let (Some(out), Some(err)) = (line(), line()) {
        shell.stdout(out).stderr(err);
    }
    shell
        .args(["-c", command])
        .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let status = shell.status().context("running the shell")?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
