// SPDX-License-Identifier: Apache-2.0
//! An image onto a disk: node-init beside `curl | zstd -d | dd oflag=direct`, one after the other in one virtual PC.
//!
//! The PC boots the RAM environment over the network. A script that lies behind node-init in its initramfs starts first,
//! writes the image as people do by hand, and then starts node-init, which does it in its own way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cpio::newc::{Builder, trailer};
use provisioner_api::{CHUNK_SIZE, Chunk, Manifest, RamManifest};

use super::table::Line;
use crate::artifacts::Artifacts;
use crate::journey::Journey;
use crate::lab::SERVER;
use crate::made_up::{IMAGE, Signature};
use crate::vm::{Firmware, Spec};
use crate::wait::until;

/// Bytes of data in the image, zeros left out.
const BYTES: u64 = 2 << 30;
/// Version of what is made for this.
const VERSION: &str = "bench";
/// Programs of the peer, out of this machine's packages.
const PROGRAMS: [&str; 4] = ["curl", "zstd", "dd", "blkdiscard"];
const SCRIPT: &str = include_str!("write.sh");
/// Power-on to the peer's end, and from there to node-init's: a minute each under software virtualization.
const LIMIT: Duration = Duration::from_mins(15);
const TARGET: f64 = 0.9;
const WHAT: &str = "2 GiB image onto a disk, ours to curl | zstd -d | dd";
/// Approves every machine: what is on its disk is the peer's.
const SITE: &str = "ram_kernel_args = \"console=ttyS0,115200 console=tty0 loglevel=4 rootfstype=ramfs rdinit=/peer/write\"\n\n\
                    [[auto_approve]]\nname = \"everybody\"\n\n";

/// Measures both.
pub fn measure(artifacts: &Artifacts) -> Result<Vec<Line>> {
    let mut journey = Journey::dark("")?;
    let place = journey.lab.folder().to_owned();
    let signature = Signature::new();
    let server = journey.lab.server();
    server.configure(SITE)?;
    let config = server.config_file();
    signature.trust(&config.with_file_name("trusted-keys"), "bench")?;
    journey.lab.start_server()?;
    let (ram, image) = (
        ram(artifacts, &place, &signature)?,
        image(artifacts, &place, &signature)?,
    );
    journey.lab.control().import(&ram)?;
    journey.lab.control().import(&image)?;

    let mut pc = journey.pc(Spec::new(Firmware::Bios, 31))?;
    journey.power_on(&mut pc)?;
    let (failed, said) = pc
        .serial()
        .wait_for_any(&["peer wrote from", "peer failed"], LIMIT)
        .with_context(|| journey.evidence(&mut pc))?;
    ensure!(failed == 0, "{said}\n{}", journey.evidence(&mut pc));
    let peer = peer_took(&said)?;
    let server = journey.lab.control();
    let written = until("the image to be written", LIMIT, || {
        for node in server.nodes()? {
            ensure!(node.state != "failed", "{}", node.reason);
            let events = server.events(&node.name)?;
            if let Some(event) = events.into_iter().find(|event| event.kind == "written") {
                return Ok(Some(event.detail));
            }
        }
        Ok(None)
    })
    .with_context(|| journey.evidence(&mut pc))?;
    let ours = node_init_took(&written)?;
    let ratio = peer / ours;
    let megabytes = f64::from(u32::try_from(BYTES / 1_000_000).unwrap_or(u32::MAX));
    let line = Line::new(WHAT, "at least 0.9", format!("{ratio:.2}"), ratio >= TARGET);
    Ok(vec![line.because(format!(
        "{:.0} MB/s with every chunk verified, to {:.0} MB/s with none; 512 MB of RAM, one processor, {}",
        megabytes / ours,
        megabytes / peer,
        journey.accel.describe()
    ))])
}

/// Seconds, from the script's line.
fn peer_took(said: &str) -> Result<f64> {
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [begin, end] = numbers[..] else {
        bail!("the peer said {said:?}")
    };
    Ok(end - begin)
}

/// Seconds, from the words of the event: `2147 MB in 15.3 s, 140 MB/s; now …`.
fn node_init_took(words: &str) -> Result<f64> {
    let seconds = words.split(" in ").nth(1).and_then(|rest| rest.split(" s").next());
    seconds
        .and_then(|seconds| seconds.parse().ok())
        .with_context(|| format!("node-init said {words:?}"))
}

/// The RAM environment of `make images` with the peer behind it.
fn ram(artifacts: &Artifacts, place: &Path, signature: &Signature) -> Result<PathBuf> {
    let (from, to) = (artifacts.ram()?, place.join("ram"));
    run(Command::new("cp").arg("-r").arg(&from).arg(&to))?;
    let text = fs::read(from.join(RamManifest::FILE)).context("reading the RAM environment's list")?;
    let mut manifest: RamManifest = serde_json::from_slice(&text).context("understanding it")?;
    VERSION.clone_into(&mut manifest.version);
    let path = to.join(RamManifest::INITRD);
    let mut initrd = fs::read(&path).context("reading the initramfs")?;
    // The kernel looks for the next archive at a multiple of four bytes.
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(peer(&format!("http://{SERVER}:8080/images/{IMAGE}/{VERSION}/chunks"))?);
    fs::write(&path, &initrd).context("writing the initramfs")?;
    for file in manifest
        .files
        .iter_mut()
        .filter(|file| file.path == RamManifest::INITRD)
    {
        file.size = initrd.len() as u64;
        file.blake3 = blake3::hash(&initrd).to_hex().to_string();
    }
    signature.write(&to, RamManifest::FILE, &manifest)?;
    Ok(to)
}

/// The archive with the script, the programs and their libraries.
fn peer(url: &str) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for folder in ["peer", "peer/bin", "peer/lib"] {
        entry(&mut archive, folder, 0o040_755, &[])?;
    }
    entry(&mut archive, "peer/write", 0o100_755, SCRIPT.as_bytes())?;
    entry(&mut archive, "peer/url", 0o100_644, url.as_bytes())?;
    let mut libraries = std::collections::BTreeSet::new();
    for program in PROGRAMS {
        let path = which(program)?;
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        entry(&mut archive, &format!("peer/bin/{program}"), 0o100_755, &content)?;
        libraries.extend(libraries_of(&path)?);
    }
    for library in libraries {
        let content = fs::read(&library).with_context(|| format!("reading {}", library.display()))?;
        let name = library
            .file_name()
            .and_then(|name| name.to_str())
            .context("a library's name")?;
        // The loader is started by its name, whatever its architecture calls it.
        let name = if name.starts_with("ld-linux") { "loader" } else { name };
        entry(&mut archive, &format!("peer/lib/{name}"), 0o100_755, &content)?;
    }
    trailer(archive).context("ending the archive")
}

fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) -> Result<()> {
    let size = u32::try_from(content.len()).context("a file of the archive is too large")?;
    let mut writer = Builder::new(name).mode(mode).write(archive, size);
    std::io::Write::write_all(&mut writer, content).context("writing the archive")?;
    writer.finish().context("writing the archive")?;
    Ok(())
}

fn which(program: &str) -> Result<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(Path::new);
    let found = folders
        .iter()
        .map(|folder| folder.join(program))
        .find(|path| path.exists());
    found.with_context(|| format!("finding {program} (packages curl, zstd)"))
}

/// Every library that a program names, as the loader finds it here.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let said = run(Command::new("ldd").arg(program))?;
    let words = said.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}

/// The node image of `make images`, its chunks over and over until they are enough.
fn image(artifacts: &Artifacts, place: &Path, signature: &Signature) -> Result<PathBuf> {
    let (from, to) = (artifacts.node_image()?, place.join("image"));
    fs::create_dir_all(&to).context("making a folder")?;
    let text = fs::read(from.join("manifest.json")).context("reading the image's list")?;
    let mut manifest: Manifest = serde_json::from_slice(&text).context("understanding it")?;
    let data = fs::read(from.join("chunks")).context("reading the image")?;
    // Behind the image's own chunks and holes, in what becomes a larger root partition, the same ones once more.
    let behind = manifest.disk_size.div_ceil(CHUNK_SIZE)..;
    let own = manifest.chunks.iter().map(|chunk| (chunk.index, chunk));
    let more = behind.zip(manifest.chunks.iter().cycle());
    let (mut chunks, mut written) = (Vec::new(), Vec::new());
    for (index, chunk) in own.chain(more).take(usize::try_from(BYTES / CHUNK_SIZE)?) {
        let range = usize::try_from(chunk.offset)?..usize::try_from(chunk.offset + chunk.length)?;
        let offset = written.len() as u64;
        written.extend(data.get(range).context("the image is shorter than its list")?);
        chunks.push(Chunk {
            index,
            offset,
            ..chunk.clone()
        });
    }
    let end = chunks.last().map_or(0, |chunk| (chunk.index + 1) * CHUNK_SIZE);
    VERSION.clone_into(&mut manifest.version);
    // Room for the copy of the partition table.
    manifest.disk_size = end + CHUNK_SIZE;
    manifest.data_size = written.len() as u64;
    manifest.chunks = chunks;
    if let Some(root) = manifest.partitions.last_mut() {
        root.size = end - root.start;
    }
    fs::write(to.join("chunks"), written).context("writing the image")?;
    signature.write(&to, "manifest.json", &manifest)?;
    Ok(to)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
