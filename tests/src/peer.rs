// SPDX-License-Identifier: Apache-2.0
//! Programs that others wrote, out of Debian's packages: unpacked into the cache, never installed, so that nothing of
//! theirs starts or stays on this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};

use crate::artifacts::Artifacts;

/// Where libraries are in a package.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// A program with what came with it.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    folder: PathBuf,
}

/// Kea's DHCP server.
pub fn kea() -> Result<Program> {
    let libraries = [
        "kea-common",
        "liblog4cplus-2.0.5",
        "libmariadb3",
        "libpq5",
        "libldap-2.5-0",
    ];
    Program::unpack("usr/sbin/kea-dhcp4", "kea-dhcp4-server", &libraries)
}

/// QEMU's program for disks in files. Its libraries come with the virtual PCs.
pub fn qemu_img() -> Result<Program> {
    Program::unpack("usr/bin/qemu-img", "qemu-utils", &[])
}

/// nginx.
pub fn nginx() -> Result<Program> {
    Program::unpack("usr/sbin/nginx", "nginx", &[])
}

/// The advanced TFTP server.
pub fn atftpd() -> Result<Program> {
    Program::unpack("usr/sbin/atftpd", "atftpd", &["libwrap0", "libpcre3"])
}

/// ISC's DHCP relay.
pub fn dhcrelay() -> Result<Program> {
    Program::unpack("usr/sbin/dhcrelay", "isc-dhcp-relay", &[])
}

/// ISC's DHCP client.
pub fn dhclient() -> Result<Program> {
    Program::unpack("sbin/dhclient", "isc-dhcp-client", &[])
}

/// busybox, whose DHCP client is udhcpc.
pub fn busybox() -> Result<Program> {
    Program::unpack("bin/busybox", "busybox", &[])
}

/// `NLnet` Labs' DNS client: what it prints is as good as a capture.
pub fn drill() -> Result<Program> {
    Program::unpack("usr/bin/drill", "ldnsutils", &["libldns3"])
}

/// The chrony daemon, client and server of NTP.
pub fn chronyd() -> Result<Program> {
    let libraries = ["libnettle8", "libhogweed6", "libgnutls30", "libseccomp2", "libcap2"];
    Program::unpack("usr/sbin/chronyd", "chrony", &libraries)
}

/// A small client of SNTP, from OpenBSD.
pub fn rdate() -> Result<Program> {
    Program::unpack("usr/sbin/rdate", "rdate", &["libbsd0", "libmd0"])
}

/// H. Peter Anvin's TFTP client.
pub fn tftp() -> Result<Program> {
    Program::unpack("usr/bin/tftp", "tftp-hpa", &[])
}

/// The advanced TFTP client, which knows options.
pub fn atftp() -> Result<Program> {
    Program::unpack("usr/bin/atftp", "atftp", &["libreadline8"])
}

/// xorriso, which makes discs.
pub fn xorriso() -> Result<Program> {
    let libraries = ["libisoburn1", "libburn4", "libisofs6", "libjte2", "libreadline8"];
    Program::unpack("usr/bin/xorriso", "xorriso", &libraries)
}

/// A package as it comes from the archive, not unpacked.
pub fn package(name: &str) -> Result<PathBuf> {
    let folder = kept(&format!("{name}.deb"), |folder| {
        run(Command::new("apt-get").args(["download", name]).current_dir(folder))
    })?;
    let mut files = std::fs::read_dir(&folder)
        .context("reading what was fetched")?
        .flatten();
    let file = files.find(|entry| entry.path().extension().is_some_and(|ending| ending == "deb"));
    file.map(|entry| entry.path())
        .with_context(|| format!("apt has fetched no {name}"))
}

impl Program {
    /// The program at `path` of a package, with the packages of its libraries that a small Debian lacks.
    pub(crate) fn unpack(path: &str, package: &str, libraries: &[&str]) -> Result<Self> {
        let folder = kept(package, |folder| fetch(folder, &[&[package], libraries].concat()))?;
        let program = Self {
            path: folder.join(path),
            folder,
        };
        ensure!(program.path.exists(), "there is no {path} in Debian's {package}");
        Ok(program)
    }

    /// A command that runs it.
    pub fn command(&self) -> Command {
        self.lend_libraries(Command::new(&self.path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that runs it by Debian's Python, with the modules that came with it; another Python may stand earlier
    /// in the path.
    pub(crate) fn python(&self) -> Command {
        let mut command = self.lend_libraries(Command::new("/usr/bin/python3"));
        command.env("PYTHONPATH", self.folder.join("usr/lib/python3/dist-packages"));
        command.arg(&self.path);
        command
    }

    fn lend_libraries(&self, mut command: Command) -> Command {
        // Folders that are not there are passed over by the loader.
        let folders = LIBRARIES.map(|folder| self.folder.join(folder).display().to_string());
        command.env("LD_LIBRARY_PATH", folders.join(":"));
        command
    }
}

/// A folder of the cache, filled the first time. It appears all at once, and several tests may want it at once.
pub(crate) fn kept(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let peers = Artifacts::find()?.cache.join("peers");
    std::fs::create_dir_all(&peers).with_context(|| format!("making {}", peers.display()))?;
    let lock = File::create(peers.join(format!("{name}.lock"))).context("making a lock")?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .context("waiting for another test")?;
    let folder = peers.join(name);
    if !folder.exists() {
        let half = folder.with_extension("half");
        // What an earlier test was cut off from is begun again.
        let _ = std::fs::remove_dir_all(&half);
        std::fs::create_dir_all(&half).with_context(|| format!("making {}", half.display()))?;
        fill(&half)?;
        std::fs::rename(&half, &folder).with_context(|| format!("keeping {}", folder.display()))?;
    }
    Ok(folder)
}

fn fetch(folder: &Path, packages: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        .arg("download")
        .args(packages)
        .current_dir(folder))?;
    for entry in std::fs::read_dir(folder).context("reading what was fetched")?.flatten() {
        let file = entry.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&file).arg(folder))?;
            std::fs::remove_file(&file).context("removing a package")?;
        }
    }
    Ok(())
}

/// Runs a program to its end; fails with its complaint if it failed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", said.trim());
    Ok(())
}
