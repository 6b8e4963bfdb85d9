// SPDX-License-Identifier: Apache-2.0
//! Writes the image, gives the system on it its name, and only then makes the disk bootable.

use std::time::{Duration, Instant};

use provisioner_api::{Capsule, FailCause, Install, Manifest, Stage};

use super::report::Meter;
use super::{check, set_up};
use crate::client::{Backoff, Client, ClientError};
use crate::disk;
use crate::host::Host;
use crate::key::NodeKey;
use crate::write::fetch::HttpSource;
use crate::write::{self, FirstMib, Fitted, Trouble, manifest};

/// Bytes of a signature file; minisign's are some 300.
const LARGEST_SIGNATURE: u64 = 16 * 1024;

/// What was done.
pub struct Written {
    /// Bytes of disk.
    pub bytes: u64,
    /// From the image's first byte to its last; what comes after is the same for a small image and a large one.
    pub time: Duration,
    /// What is not as the order wants it and does not keep the node from starting.
    pub notes: Vec<String>,
}

/// Everything that an installation needs besides its order.
pub struct Tools<'a> {
    /// The machine.
    pub host: &'a dyn Host,
    /// For the capsule.
    pub client: &'a Client,
    /// The key that the node gets if it has none yet.
    pub key: &'a NodeKey,
    /// Address of the card that booted.
    pub mac: &'a str,
}

/// Carries the order out. Started over after any interruption, it ends the same.
pub fn run(tools: &Tools<'_>, order: &Install, meter: &Meter<'_>) -> Result<Written, FailCause> {
    let host = tools.host;
    check::memory(host.memory())?;
    let disks = host.disks();
    let name = disk::find(&disks, &order.disk)?.name.clone();
    let (label, image) = (
        disk::label(&order.disk),
        format!("{} {}", order.image.name, order.image.version),
    );
    let failed = |trouble: Trouble| trouble.cause(&label, &image);

    let waiting = |what: &str| {
        if !what.is_empty() {
            meter.say(what);
        }
    };
    let source = HttpSource::new(&order.image.url, &waiting);
    let manifest = fetch_manifest(&source, order).map_err(failed)?;
    let seed = seed(order, &manifest).map_err(failed)?;
    if seed.is_none() {
        // What cannot be written in the end is refused before an hour of writing.
        set_up::files(order, None, tools.key, tools.mac).map_err(|e| unfit_order(&e))?;
    }
    let started = Instant::now();
    let first = write_body(host, &name, &manifest, &source, meter).map_err(failed)?;
    let time = started.elapsed();

    meter.progress(Stage::SettingUp, 0, format!("setting {} up", order.name));
    let mut notes = Vec::new();
    let fitted = if let Some(seed) = &seed {
        // The image's own cloud-init sets it up, and what is kept of the node is put back when it joins.
        Fitted::Seed(seed)
    } else {
        let capsule =
            capsule(tools, meter).map_err(|e| set_up_failed("fetching the identity capsule", &e.to_string()))?;
        notes = set_up(tools, order, &manifest, capsule.as_ref(), &name)?;
        Fitted::Root(order.root_size)
    };
    meter.progress(Stage::SettingUp, 800, "making the disk bootable".into());
    let device = host.open_disk(&name).map_err(|e| failed(disk_trouble(&e)))?;
    write::finish(&*device, &manifest, fitted, first).map_err(failed)?;
    meter.progress(Stage::SettingUp, 1000, format!("{} is on the disk", order.name));
    Ok(Written {
        bytes: manifest.disk_size,
        time,
        notes,
    })
}

fn fetch_manifest(source: &HttpSource<'_>, order: &Install) -> Result<Manifest, Trouble> {
    let bytes = source.file("manifest.json", manifest::LARGEST)?;
    let signature = source.file("manifest.json.minisig", LARGEST_SIGNATURE)?;
    manifest::open(&bytes, &String::from_utf8_lossy(&signature), &order.image)
}

/// The bytes of the seed, for an image that wants one. Neither half of that is anything without the other.
fn seed(order: &Install, manifest: &Manifest) -> Result<Option<Vec<u8>>, Trouble> {
    match (&order.seed, manifest.cloud_init) {
        (Some(seed), true) => write::seed::volume(seed).map(Some),
        (None, false) => Ok(None),
        (None, true) => Err(Trouble::Seed(
            "the image is one for cloud-init, and the order says nothing that cloud-init could obey; its profile needs an \
             installer such as cloud-debian"
                .into(),
        )),
        (Some(_), false) => Err(Trouble::Seed(
            "the order is for cloud-init, and the image is not; give the profile an image made by `images build cloud`".into(),
        )),
    }
}

fn write_body(
    host: &dyn Host,
    name: &str,
    manifest: &Manifest,
    source: &HttpSource<'_>,
    meter: &Meter<'_>,
) -> Result<FirstMib, Trouble> {
    let device = host.open_disk(name).map_err(|e| disk_trouble(&e))?;
    let started = Instant::now();
    let first = write::body(&*device, manifest, source, &|done, all| {
        let permille = u16::try_from(done.saturating_mul(1000) / all.max(1)).unwrap_or(1000);
        meter.progress(Stage::Writing, permille, rate(done, all, started.elapsed()));
    })?;
    // The kernel must not know any partition of the disk when the root partition is announced to it; it is asked
    // again, because the table that it may remember is gone.
    let _ = device.reread_table();
    Ok(first)
}

/// "412 of 980 MB, 61 MB/s".
fn rate(done: u64, all: u64, time: Duration) -> String {
    let mb = |bytes: u64| bytes / 1_000_000;
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{} of {} MB, {} MB/s", mb(done), mb(all), done / milliseconds / 1000)
}

/// For ever while the controller is away; "none is kept" is an answer.
fn capsule(tools: &Tools<'_>, meter: &Meter<'_>) -> Result<Option<Capsule>, ClientError> {
    let mut backoff = Backoff::default();
    loop {
        match tools.client.capsule() {
            Err(error) if error.is_temporary() => meter.say(&format!("waiting for the controller: {error}")),
            other => return other,
        }
        tools.host.sleep(backoff.pause());
    }
}

fn set_up(
    tools: &Tools<'_>,
    order: &Install,
    manifest: &Manifest,
    capsule: Option<&Capsule>,
    disk: &str,
) -> Result<Vec<String>, FailCause> {
    let Some(root) = manifest.root() else {
        return Err(set_up_failed("mounting the root partition", "the image has none"));
    };
    let files = set_up::files(order, capsule, tools.key, tools.mac).map_err(|e| unfit_order(&e))?;
    let mut notes = Vec::new();
    tools
        .host
        .with_partition(disk, root, &mut |target| {
            notes = set_up::write_into(target, &files, &order.timezone)?;
            Ok(())
        })
        .map_err(|e| set_up_failed("writing its files", &format!("{e:#}")))?;
    Ok(notes)
}

fn unfit_order(error: &anyhow::Error) -> FailCause {
    set_up_failed("putting its files together", &format!("{error:#}"))
}

fn set_up_failed(step: &str, detail: &str) -> FailCause {
    FailCause::SetUp {
        step: step.to_owned(),
        detail: detail.to_owned(),
    }
}

fn disk_trouble(error: &std::io::Error) -> Trouble {
    Trouble::Disk {
        offset: 0,
        detail: error.to_string(),
    }
}
