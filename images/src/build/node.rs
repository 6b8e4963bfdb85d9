// SPDX-License-Identifier: Apache-2.0
//! The build of a node image.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kickstart::roles::Role;
use provisioner_api::{CHUNK_SIZE, Manifest, Partition, PartitionRole};

use super::{companion, fetch_tools, node_init, open_result, signing_key, tell, version, write_manifest};
use crate::cache::Cache;
use crate::chunks::{self, Cut};
use crate::cli::NodeArgs;
use crate::debian::{Depth, NOTES, Request, Tree};
use crate::disk::{self, Layout};
use crate::ext4;
use crate::grub;
use crate::mirror::Mirror;
use crate::overlay;
use crate::progress::Progress;
use crate::recipe::Node;
use crate::roles;
use crate::tool::Tools;
use crate::tree::{self, Layer};
use crate::verify::{CHUNKS, MANIFEST};

/// Where cargo puts the installed node-init.
const NODE_INIT: &str = "node/node-init";
/// How to get it there.
pub(super) const HOW: &str = "cargo build --profile node -p node-init --features libvirt";
/// Modules in GRUB's core image for BIOS: all that its script and a person at its prompt need, so that the root
/// file system holds none.
const BIOS_MODULES: [&str; 21] = [
    "biosdisk",
    "part_gpt",
    "part_msdos",
    "ext2",
    "search",
    "search_fs_uuid",
    "normal",
    "configfile",
    "linux",
    "echo",
    "test",
    "sleep",
    "reboot",
    "halt",
    "serial",
    "terminal",
    "minicmd",
    "boot",
    "ls",
    "cat",
    "gzio",
];

/// Builds a node image.
pub fn build(asked: &NodeArgs) -> Result<()> {
    let args = &asked.build;
    let mut recipe = Node::load(args.recipe.as_deref())?;
    recipe.firmware = args.firmware_choice().unwrap_or(recipe.firmware);
    let ours = if recipe.cloud_init {
        None
    } else {
        Some(Ours::find(asked, &mut recipe)?)
    };
    let key = signing_key(&args.key)?;
    let cache = Cache::open(&Cache::default_folder(), args.refresh)?;
    let scratch = cache.scratch("node")?;
    let file = |name: &str| scratch.path().join(name);
    let list = args.out.join(MANIFEST);
    let mut progress = Progress::default();

    let mirror = progress.verb("find the mirror", |_| Mirror::find(args.mirror.as_deref()))?;
    let tools = progress.verb("fetch the tools", |_| fetch_tools(&recipe.suite, &mirror, &cache))?;
    let base = progress.verb("install the base system", |_| install(&recipe, &mirror, &cache))?;
    let plan = Plan::new(&recipe, args.date.map_or_else(|| base.date(), Ok)?);
    let root = file("root.tar");
    progress.verb("lay our files over it", |_| {
        tree::merge(
            &base.archive(),
            &removed(&recipe),
            &layer(&recipe, ours.as_ref(), &plan)?,
            plan.created,
            &root,
        )
    })?;
    progress.verb("make the root file system", |_| {
        ext4::make(&tools, &plan.root(), &root, &file("root.img"))
    })?;
    progress.verb("make the EFI system partition", |_| {
        make_esp(&tools, &plan, scratch.path(), &file("esp.img"))
    })?;
    let disk = file("disk.img");
    progress.verb("make the disk", |_| make_disk(&tools, &plan, scratch.path(), &disk))?;
    open_result(&args.out, &list)?;
    let cut = progress.verb("cut and compress chunks", |bar| {
        let unused = unused(&tools, &plan, &file("root.img"))?;
        let store = cache.store(&format!("chunks/{}-{}", recipe.name, chunks::FORMAT))?;
        chunks::cut(&disk, &unused, &store, &args.out.join(CHUNKS), bar)
    })?;
    let manifest = manifest(&recipe, &plan, &base, cut)?;
    progress.verb("sign", |_| write_manifest(&manifest, &key, &list))?;
    if args.disk {
        progress.verb("copy the disk", |_| disk::copy(&disk, &args.out.join("disk.img")))?;
    }

    tell(&manifest, &args.out, &progress);
    Ok(())
}

/// What makes a node of a system.
struct Ours {
    role: Role,
    node_init: PathBuf,
    /// A node without guests has nothing to say to libvirt.
    companion: Option<PathBuf>,
}

impl Ours {
    /// Finds it, and adds to the recipe what the role needs.
    fn find(asked: &NodeArgs, recipe: &mut Node) -> Result<Self> {
        let role = roles::find(asked.role.as_ref().unwrap_or(&recipe.role), asked.roles.as_deref())?;
        roles::add_to(recipe, &role)?;
        let node_init = node_init(&asked.build, NODE_INIT, HOW)?;
        let companion = role.guests.map(|_| companion(&asked.build, &node_init)).transpose()?;
        Ok(Self {
            role,
            node_init,
            companion,
        })
    }

    fn lay_over(&self, layer: &mut Layer) -> Result<()> {
        overlay::lay_over(layer)?;
        roles::lay_over(layer, roles::made(&self.role)?);
        layer.folder("/var/lib/node-init", 0o700);
        layer.file("/usr/sbin/node-init", 0o755, disk::read(&self.node_init)?);
        if let Some(companion) = &self.companion {
            layer.file("/usr/libexec/node-init-libvirt", 0o755, disk::read(companion)?);
        }
        Ok(())
    }
}

/// What is settled before anything is made.
struct Plan {
    created: u64,
    /// What all UUIDs are derived from.
    seed: String,
    layout: Layout,
    root_uuid: String,
    hash_seed: String,
}

impl Plan {
    fn new(recipe: &Node, created: u64) -> Self {
        let seed = format!("{} {created}", recipe.name);
        let (root_uuid, hash_seed) = (disk::uuid(&[&seed, "root fs"]), disk::uuid(&[&seed, "hash seed"]));
        Self {
            created,
            layout: Layout::new(recipe.esp_mib, recipe.root_mib, recipe.numbers),
            root_uuid,
            hash_seed,
            seed,
        }
    }

    fn root(&self) -> ext4::Plan<'_> {
        let size = self.layout.partitions[2].size;
        ext4::Plan {
            uuid: &self.root_uuid,
            hash_seed: &self.hash_seed,
            size,
            created: self.created,
        }
    }
}

/// Installs the base system, or finds it in the cache.
pub(super) fn install(recipe: &Node, mirror: &Mirror, cache: &Cache) -> Result<Tree> {
    let request = Request {
        what: "node",
        suite: &recipe.suite,
        components: recipe.components(),
        packages: recipe.all_packages(),
        depth: Depth::Installed {
            excluded: &recipe.excluded,
            before: &recipe.before,
            after: &recipe.after,
        },
    };
    Tree::fetch(&request, mirror, cache)
}

fn removed(recipe: &Node) -> Vec<String> {
    recipe.removed.iter().cloned().chain([NOTES.to_owned()]).collect()
}

/// Everything of ours that goes over the base.
fn layer(recipe: &Node, ours: Option<&Ours>, plan: &Plan) -> Result<Layer> {
    let mut layer = Layer::default();
    ours.map_or(Ok(()), |ours| ours.lay_over(&mut layer))?;
    for file in &recipe.files {
        layer.file(&file.path, 0o644, file.text.as_str());
    }
    layer.file(
        "/etc/fstab",
        0o644,
        format!(
            "UUID={} / ext4 rw,errors=remount-ro,x-systemd.growfs 0 1\n\
             UUID={} /boot/efi vfat umask=0077,noauto,nofail 0 0\n",
            plan.root_uuid,
            disk::esp_uuid(&plan.seed)
        ),
    );
    layer.folder("/boot/efi", 0o700);
    let grub = include_str!("../../recipes/grub.cfg");
    let grub = grub
        .replace("@ROOT@", &plan.root_uuid)
        .replace("@ARGS@", &recipe.kernel_args);
    layer.file("/boot/grub/grub.cfg", 0o644, grub);
    // /usr is as new as /etc and /var: without this systemd would rebuild indexes at the first boot, for many seconds.
    for place in ["/etc/.updated", "/var/.updated"] {
        layer.file(place, 0o644, format!("TIMESTAMP_NSEC={}000000000\n", plan.created));
    }
    Ok(layer)
}

/// The script by which a GRUB finds the root file system. In a core image it is read by a parser that knows no comments.
fn find_root(plan: &Plan, then: &str) -> String {
    include_str!("../../recipes/find-root.cfg").replace("@ROOT@", &plan.root_uuid) + then
}

/// The ESP: shim and GRUB, signed by Microsoft and Debian, at the place where firmware looks without being told.
fn make_esp(tools: &Tools, plan: &Plan, scratch: &Path, out: &Path) -> Result<()> {
    let script = scratch.join("esp-grub.cfg");
    fs::write(
        &script,
        find_root(plan, "configfile $prefix/grub.cfg\nsleep 10\nreboot\n"),
    )
    .context("writing GRUB's script")?;
    let signed = |path: &str| tools.tree().join("usr/lib").join(path);
    let files: [(&str, PathBuf); 4] = [
        ("/EFI/BOOT/BOOTX64.EFI", signed("shim/shimx64.efi.signed")),
        ("/EFI/BOOT/mmx64.efi", signed("shim/mmx64.efi.signed")),
        (
            "/EFI/BOOT/grubx64.efi",
            signed("grub/x86_64-efi-signed/grubx64.efi.signed"),
        ),
        // Debian's GRUB looks here, wherever it was started from.
        ("/EFI/debian/grub.cfg", script),
    ];
    let files: Vec<(&str, &Path)> = files.iter().map(|(path, file)| (*path, file.as_path())).collect();
    disk::esp(tools, &plan.layout, &plan.seed, plan.created, &files, out)
}

fn make_disk(tools: &Tools, plan: &Plan, scratch: &Path, out: &Path) -> Result<()> {
    let (script, core) = (scratch.join("bios-grub.cfg"), scratch.join("core.img"));
    fs::write(&script, find_root(plan, "")).context("writing GRUB's script")?;
    grub::mkimage(tools, "i386-pc", &[("-c", &script)], "/boot/grub", &core, &BIOS_MODULES)?;
    let boot = disk::read(&tools.tree().join("usr/lib/grub/i386-pc/boot.img"))?;
    let (boot, core) = grub::bios(&boot, disk::read(&core)?, plan.layout.core_sector())?;
    let parts = disk::Parts {
        boot: &boot,
        core: &core,
        esp: &scratch.join("esp.img"),
        root: Some(&scratch.join("root.img")),
    };
    disk::assemble(tools, &plan.layout, &plan.seed, &parts, out)
}

/// What of the disk nobody relies on: the gaps between partitions, and what the root file system does not use.
fn unused(tools: &Tools, plan: &Plan, root: &Path) -> Result<Vec<std::ops::Range<u64>>> {
    let [bios, esp, system] = &plan.layout.partitions[..] else {
        bail!("a node image has three partitions");
    };
    let mut unused = vec![bios.start + bios.size..esp.start, esp.start + esp.size..system.start];
    let inside = ext4::unused(tools, root)?;
    unused.extend(
        inside
            .into_iter()
            .map(|range| system.start + range.start..system.start + range.end),
    );
    unused.push(system.start + system.size..plan.layout.size);
    Ok(unused)
}

fn manifest(recipe: &Node, plan: &Plan, base: &Tree, cut: Cut) -> Result<Manifest> {
    let manifest = Manifest {
        format: 1,
        name: recipe.name.clone(),
        version: version(plan.created, &cut.contents())?,
        arch: "amd64".into(),
        created: plan.created,
        disk_size: plan.layout.size,
        chunk_size: CHUNK_SIZE,
        data_size: cut.data_size,
        partitions: partitions(recipe, plan),
        chunks: cut.chunks,
        packages: base.packages()?,
        role: recipe.role.clone(),
        cloud_init: recipe.cloud_init,
    };
    manifest.validate().context("checking the manifest")?;
    Ok(manifest)
}

/// Where its parts lie. What grows an image for cloud-init is in the image.
fn partitions(recipe: &Node, plan: &Plan) -> Vec<Partition> {
    let mut partitions = plan.layout.partitions.clone();
    for partition in partitions.iter_mut().filter(|_| recipe.cloud_init) {
        if partition.role == PartitionRole::Root {
            partition.role = PartitionRole::Other;
        }
    }
    partitions
}
