// SPDX-License-Identifier: Apache-2.0
//! Debian's kernel in an unpacked tree: which modules to take, what they depend on, and the firmware that they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::tool::Tools;

/// Where modules lie in a tree; busybox and the kernel itself say `/lib/modules`, a link leads here.
pub const MODULES: &str = "usr/lib/modules";
/// Where firmware lies in a tree.
pub const FIRMWARE: &str = "usr/lib/firmware";
/// kmod, which is depmod and modinfo when called so.
const KMOD: &str = "usr/bin/kmod";
/// What depmod makes and modprobe of busybox reads; the rest of it is for other programs.
const INDEXES: [&str; 5] = [
    "modules.alias",
    "modules.builtin",
    "modules.dep",
    "modules.softdep",
    "modules.symbols",
];

/// The kernel of a tree.
#[derive(Debug)]
pub struct Kernel<'a> {
    tree: &'a Path,
    tools: &'a Tools,
    /// As `uname -r` prints it.
    pub release: String,
}

/// Modules that were chosen, uncompressed, with their indexes.
#[derive(Debug)]
pub struct Modules {
    /// Root of a tree with [`MODULES`] in it.
    pub root: PathBuf,
    /// Paths below the root, indexes first, sorted.
    pub files: Vec<String>,
    /// What the modules ask for, by path below [`FIRMWARE`].
    pub firmware: BTreeSet<String>,
}

impl<'a> Kernel<'a> {
    /// Finds the one kernel of a tree.
    pub fn find(tree: &'a Path, tools: &'a Tools) -> Result<Self> {
        let folder = tree.join(MODULES);
        let mut releases = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            releases.push(
                entry
                    .context("reading the kernel's folder")?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        match releases.as_slice() {
            [release] => Ok(Self {
                tree,
                tools,
                release: release.clone(),
            }),
            [] => bail!("there is no kernel among the packages; add linux-image-amd64 to the recipe"),
            _ => bail!(
                "there are several kernels ({}); the recipe must name one",
                releases.join(", ")
            ),
        }
    }

    /// The kernel itself.
    pub fn image(&self) -> PathBuf {
        self.tree.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// Takes the modules that match, with what they depend on, into `scratch`.
    pub fn take(&self, wanted: &[String], unwanted: &[String], scratch: &Path) -> Result<Modules> {
        let dependencies = self.dependencies(&scratch.join("all"))?;
        let chosen = choose(&dependencies, wanted, unwanted)?;
        let root = scratch.join("modules");
        let from = self.tree.join(MODULES).join(&self.release);
        let to = root.join(MODULES).join(&self.release);
        let mut compressed = Vec::new();
        for module in &chosen {
            let target = to.join(module);
            let parent = target.parent().unwrap_or(&to);
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            fs::copy(from.join(module), &target).with_context(|| format!("copying the module {module}"))?;
            if Path::new(module).extension().is_some_and(|extension| extension == "xz") {
                compressed.push(target);
            }
        }
        for index in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            fs::copy(from.join(index), to.join(index)).with_context(|| format!("copying {index}"))?;
        }
        if !compressed.is_empty() {
            // Uncompressed, so that the initramfs can be compressed as a whole, which is a third smaller.
            self.tools
                .tool("usr/bin/xz")
                .args(["-d", "-T0", "--"])
                .args(&compressed)
                .run()?;
        }
        self.depmod(&root, &root)?;
        let plain: Vec<String> = chosen
            .iter()
            .map(|module| module.trim_end_matches(".xz").to_owned())
            .collect();
        let firmware = self.firmware(&plain, &to)?;
        let below = format!("{MODULES}/{}", self.release);
        let mut files: Vec<String> = INDEXES.iter().map(|index| format!("{below}/{index}")).collect();
        files.extend(plain.iter().map(|module| format!("{below}/{module}")));
        Ok(Modules { root, files, firmware })
    }

    /// Every module and what it directly or indirectly depends on, by path below the kernel's folder.
    fn dependencies(&self, scratch: &Path) -> Result<BTreeMap<String, Vec<String>>> {
        fs::create_dir_all(scratch).context("making a folder for module indexes")?;
        self.depmod(self.tree, scratch)?;
        let file = scratch.join("lib/modules").join(&self.release).join("modules.dep");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(parse_dependencies(&text))
    }

    fn depmod(&self, root: &Path, out: &Path) -> Result<()> {
        let link = root.join("lib");
        if !link.exists() {
            std::os::unix::fs::symlink("usr/lib", &link).context("making the link lib")?;
        }
        let tool = self.tools.tool_as(KMOD, "depmod");
        tool.arg("-b").arg(root).arg("-o").arg(out).arg(&self.release).run()
    }

    fn firmware(&self, modules: &[String], folder: &Path) -> Result<BTreeSet<String>> {
        let files = modules.iter().map(|module| folder.join(module));
        let names = self
            .tools
            .tool_as(KMOD, "modinfo")
            .args(["-F", "firmware"])
            .args(files)
            .output()?;
        Ok(names.lines().map(str::to_owned).collect())
    }
}

/// `modules.dep`: `a.ko: b.ko c.ko`, a line each; the dependencies are complete.
fn parse_dependencies(text: &str) -> BTreeMap<String, Vec<String>> {
    let line = |line: &str| {
        let (module, needed) = line.split_once(':')?;
        Some((
            module.to_owned(),
            needed.split_whitespace().map(str::to_owned).collect(),
        ))
    };
    text.lines().filter_map(line).collect()
}

/// Chooses modules by path. A pattern that matches nothing is a mistake in the recipe, or a driver that moved: both are told.
fn choose(all: &BTreeMap<String, Vec<String>>, wanted: &[String], unwanted: &[String]) -> Result<BTreeSet<String>> {
    let mut chosen = BTreeSet::new();
    for pattern in wanted {
        let matching: Vec<_> = all.iter().filter(|(module, _)| matches(pattern, module)).collect();
        ensure!(
            !matching.is_empty(),
            "the kernel has no module {pattern:?}; correct the recipe"
        );
        for (module, needed) in matching {
            if !unwanted.iter().any(|pattern| matches(pattern, module)) {
                chosen.insert(module.clone());
                chosen.extend(needed.iter().cloned());
            }
        }
    }
    Ok(chosen)
}

/// Whether a path like `kernel/fs/fat/vfat.ko.xz` is meant by `fs/fat/` or `fs/fat/vfat`.
fn matches(pattern: &str, module: &str) -> bool {
    let Some(path) = module.strip_prefix("kernel/") else {
        return false;
    };
    if pattern.ends_with('/') {
        return path.starts_with(pattern);
    }
    path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with(".ko"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const INDEX: &str = "kernel/fs/fat/fat.ko.xz:\nkernel/fs/fat/vfat.ko.xz: kernel/fs/fat/fat.ko.xz\n\
                         kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz\nkernel/fs/jbd2/jbd2.ko.xz:\n";

    fn chosen(wanted: &[&str], unwanted: &[&str]) -> Result<Vec<String>> {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        choose(&parse_dependencies(INDEX), &own(wanted), &own(unwanted)).map(|set| set.into_iter().collect())
    }

    #[test]
    fn modules_come_with_what_they_depend_on() {
        assert_eq!(
            chosen(&["fs/ext4/"], &[]).unwrap(),
            ["kernel/fs/ext4/ext4.ko.xz", "kernel/fs/jbd2/jbd2.ko.xz"]
        );
        assert_eq!(chosen(&["fs/fat/fat"], &[]).unwrap(), ["kernel/fs/fat/fat.ko.xz"]);
    }

    #[test]
    fn an_unwanted_module_still_comes_when_another_needs_it() {
        let both = ["kernel/fs/fat/fat.ko.xz", "kernel/fs/fat/vfat.ko.xz"];
        assert_eq!(chosen(&["fs/fat/"], &["fs/fat/fat"]).unwrap(), both);
    }

    #[test]
    fn a_module_that_is_not_there_is_told() {
        assert!(chosen(&["fs/fat/vfa"], &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_index_makes_the_parser_panic(text in "(?s).{0,200}") {
            let _ = parse_dependencies(&text);
        }
    }
}
