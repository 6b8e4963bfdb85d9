// SPDX-License-Identifier: Apache-2.0
//! What to build, as a person writes it down: one TOML file a thing, the two built-in ones are in `recipes/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The built-in recipe of the RAM environment.
pub const RAM: &str = include_str!("../recipes/ram.toml");
/// The built-in recipe of the node image.
pub const NODE: &str = include_str!("../recipes/node.toml");

/// Bytes of a MiB; sizes of partitions are written in them.
pub const MIB: u64 = 1024 * 1024;

/// A recipe.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Recipe {
    /// Kernel, initramfs and loaders.
    Ram(Ram),
    /// What is written to a node's disk.
    Node(Node),
}

/// The recipe of a RAM environment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ram {
    /// Its name.
    pub name: String,
    /// Debian release by code name.
    pub suite: String,
    /// Packages that files are picked from.
    pub packages: Vec<String>,
    /// Whether firmware that is not free software goes in.
    pub firmware: bool,
    /// Packages that firmware is picked from.
    #[serde(default)]
    pub firmware_packages: Vec<String>,
    /// Firmware that stays out, by the beginning of its path.
    #[serde(default)]
    pub without_firmware: Vec<String>,
    /// Links to busybox.
    pub applets: Vec<String>,
    /// Programs, copied with their libraries.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Other files.
    #[serde(default)]
    pub files: Vec<String>,
    /// Loaders of the package ipxe.
    pub loaders: Vec<String>,
    /// Loaders that Secure Boot lets in: names, and where they lie in the tree of the tools.
    #[serde(default)]
    pub signed: BTreeMap<String, String>,
    /// Kernel modules that go in.
    pub modules: Vec<String>,
    /// Kernel modules that stay out unless another one needs them.
    #[serde(default)]
    pub without_modules: Vec<String>,
}

/// The recipe of a node image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name; that of an image for another role has the role behind it.
    pub name: String,
    /// What its nodes serve as where nobody says.
    pub role: String,
    /// Debian release by code name.
    pub suite: String,
    /// Packages to install beside the role's; what they recommend is not.
    pub packages: Vec<String>,
    /// Whether firmware and microcode that are not free software go in.
    pub firmware: bool,
    /// Packages of those.
    #[serde(default)]
    pub firmware_packages: Vec<String>,
    /// Paths that dpkg never unpacks, now and on the node later.
    #[serde(default)]
    pub excluded: Vec<String>,
    /// Shell commands run on the tree (`$1`) before the packages are installed.
    #[serde(default)]
    pub before: Vec<String>,
    /// Shell commands run on the tree (`$1`) after that.
    #[serde(default)]
    pub after: Vec<String>,
    /// Paths that are taken out of the image: a trailing slash empties a folder.
    #[serde(default)]
    pub removed: Vec<String>,
    /// Files that are put in.
    #[serde(default, rename = "file")]
    pub files: Vec<TextFile>,
    /// Kernel command line, before what `/boot/grub/gleaner.cfg` adds.
    pub kernel_args: String,
    /// Whether the image's own cloud-init makes a node of it: then no node-init is in it, and no role.
    #[serde(default)]
    pub cloud_init: bool,
    /// Numbers of the partitions in the table: BIOS boot, ESP, root.
    #[serde(default = "in_order")]
    pub numbers: [u32; 3],
    /// MiB of the EFI system partition.
    pub esp_mib: u64,
    /// MiB of the root partition; it grows on the node.
    pub root_mib: u64,
}

fn in_order() -> [u32; 3] {
    [1, 2, 3]
}

/// A small text file of an image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFile {
    /// Absolute path.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl Recipe {
    /// Reads a recipe from a file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading the recipe {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("reading the recipe {}", file.display()))
    }

    /// Understands and checks a recipe.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text)?;
        match &recipe {
            Self::Ram(ram) => ram.check()?,
            Self::Node(node) => node.check()?,
        }
        Ok(recipe)
    }
}

impl Ram {
    /// The recipe in a file, or the built-in one.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        match file.map_or_else(|| Recipe::parse(RAM), Recipe::read)? {
            Recipe::Ram(ram) => Ok(ram),
            Recipe::Node(_) => bail!("this is a recipe of a node image; build it with: images build node"),
        }
    }

    /// Archive areas of Debian that it needs.
    pub fn components(&self) -> &'static str {
        components(self.firmware)
    }

    /// Packages that it needs.
    pub fn all_packages(&self) -> Vec<&str> {
        all_packages(&self.packages, &self.firmware_packages, self.firmware)
    }

    fn check(&self) -> Result<()> {
        check_words(&self.name, &self.suite, self.all_packages())?;
        for path in [&self.programs, &self.files, &self.loaders]
            .into_iter()
            .flatten()
            .chain(self.signed.iter().flat_map(|(name, path)| [name, path]))
        {
            ensure!(
                is_relative(path),
                "{path:?} must be a path below the root of the tree, without a slash in front"
            );
        }
        for applet in &self.applets {
            ensure!(is_word(applet), "{applet:?} is not the name of an applet");
        }
        Ok(())
    }
}

impl Node {
    /// The recipe in a file, or the built-in one.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        match file.map_or_else(|| Recipe::parse(NODE), Recipe::read)? {
            Recipe::Node(node) => Ok(node),
            Recipe::Ram(_) => bail!("this is a recipe of a RAM environment; build it with: images build ram"),
        }
    }

    /// Archive areas of Debian that it needs.
    pub fn components(&self) -> &'static str {
        components(self.firmware)
    }

    /// Packages that it needs.
    pub fn all_packages(&self) -> Vec<&str> {
        all_packages(&self.packages, &self.firmware_packages, self.firmware)
    }

    fn check(&self) -> Result<()> {
        check_words(&self.name, &self.suite, self.all_packages())?;
        for file in &self.files {
            let inside = file.path.strip_prefix('/').is_some_and(is_relative);
            ensure!(inside, "{:?} must be an absolute path without dots", file.path);
        }
        // FAT32 has at least 65,525 clusters; firmware that knows only FAT32 on an ESP exists.
        ensure!(
            (40..=4096).contains(&self.esp_mib),
            "esp_mib must be 40 to 4096, for FAT32 to fit"
        );
        ensure!(
            (512..=1024 * 1024).contains(&self.root_mib),
            "root_mib must be 512 or more"
        );
        ensure!(
            !self.kernel_args.contains(['\n', '"', '$', '`', '\\']),
            "kernel_args must be one line of plain words"
        );
        Ok(())
    }
}

fn components(firmware: bool) -> &'static str {
    if firmware { "main non-free-firmware" } else { "main" }
}

fn all_packages<'a>(packages: &'a [String], firmware_packages: &'a [String], firmware: bool) -> Vec<&'a str> {
    let firmware = if firmware { firmware_packages } else { &[] };
    let mut all: Vec<&str> = packages.iter().chain(firmware).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn check_words(name: &str, suite: &str, packages: Vec<&str>) -> Result<()> {
    ensure!(
        is_word(name) && name.len() <= 40,
        "{name:?} is not an image name (a-z, 0-9, dot, dash, underscore; at most 40)"
    );
    ensure!(is_word(suite), "{suite:?} is not the code name of a release");
    for package in packages {
        // Debian Policy 5.6.1. What is not a name would be taken for an option or a file.
        ensure!(
            is_word(package) && package.len() >= 2,
            "{package:?} is not the name of a package"
        );
    }
    Ok(())
}

fn is_word(word: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    word.starts_with(letter) && word.chars().all(|c| letter(c) || ".-_+".contains(c))
}

fn is_relative(path: &str) -> bool {
    !path.is_empty()
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_built_in_recipes_are_sound() {
        assert!(Ram::load(None).is_ok());
        assert!(Node::load(None).is_ok());
    }

    #[test]
    fn a_site_without_nonfree_firmware_gets_none_of_it() {
        let mut ram = Ram::load(None).unwrap();
        assert!(ram.all_packages().contains(&"firmware-realtek"));
        ram.firmware = false;
        assert_eq!(ram.components(), "main");
        assert!(
            !ram.all_packages()
                .iter()
                .any(|package| package.starts_with("firmware-"))
        );
    }

    #[test]
    fn a_recipe_that_reaches_out_of_the_tree_or_into_a_command_line_is_refused() {
        let refused = |from: &str, to: &str| {
            let text = RAM.replacen(from, to, 1);
            assert_ne!(text, RAM, "{from} is in the recipe");
            assert!(Recipe::parse(&text).is_err(), "{to}");
        };
        refused("\"usr/sbin/smartctl\"", "\"../../etc/shadow\"");
        refused("\"usr/sbin/smartctl\"", "\"/usr/sbin/smartctl\"");
        refused("\"busybox-static\"", "\"--variant=x\"");
        refused("\"busybox-static\"", "\"a,b\"");
        refused("name = \"ram\"", "name = \"../ram\"");
        refused("suite =", "suit =");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,200}") {
            let _ = Recipe::parse(&text);
        }
    }
}
