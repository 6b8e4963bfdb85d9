// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use provisioner_api::Manifest;

/// Builds the RAM environment and node images of Gleaner.
#[derive(Debug, Parser)]
#[command(name = "images", version)]
pub struct Cli {
    /// Show every command that is run, and what it says.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the RAM environment or a node image.
    #[command(subcommand)]
    Build(Build),
    /// Fetch and install the packages that both builds need, before node-init is there: what takes longest.
    Prepare(PrepareArgs),
    /// Make or show the key that images are signed with.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Check a built folder: signature, list, and every byte of it.
    Verify {
        /// Folder of a RAM environment or node image.
        dir: PathBuf,
        /// Public key file that must have signed it; without it, only the folder's consistency is checked and that is said.
        #[arg(long)]
        key: Option<PathBuf>,
    },
}

/// What to build.
#[derive(Debug, Subcommand)]
pub enum Build {
    /// Kernel, initramfs and loaders: what a PC boots over the network.
    Ram(BuildArgs),
    /// What is written to a node's disk.
    Node(NodeArgs),
    /// A node image out of a distribution's ready-made image for clouds (qcow2 or raw), whose own cloud-init makes the node.
    Cloud(CloudArgs),
    /// A small stick for machines that cannot boot from the network by themselves; BIOS and UEFI.
    BootStick(StickArgs),
}

/// What to prepare for.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Debian mirror; the one in this machine's apt settings if absent.
    #[arg(long, env = "GLEANER_MIRROR")]
    pub mirror: Option<String>,
    /// Date of the results, in seconds since 1970; the date of the packages if absent.
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    pub date: Option<u64>,
    /// Leave firmware that is not free software out, whatever the recipes say.
    #[arg(long)]
    pub no_firmware: bool,
    /// Fetch today's packages although older ones are in the cache.
    #[arg(long)]
    pub refresh: bool,
}

/// How to build a boot stick. It holds nothing of the site: one stick is good for all machines and all controllers.
#[derive(Debug, Args)]
pub struct StickArgs {
    /// File for the result, to be copied onto a stick as it is.
    #[arg(long, default_value = "boot-stick.img")]
    pub out: PathBuf,
    /// Debian mirror; the one in this machine's apt settings if absent.
    #[arg(long, env = "GLEANER_MIRROR")]
    pub mirror: Option<String>,
    /// Date of the result, in seconds since 1970; the date of the packages if absent.
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    pub date: Option<u64>,
    /// Fetch today's packages although older ones are in the cache.
    #[arg(long)]
    pub refresh: bool,
}

/// How to build.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // switches of a command line
pub struct BuildArgs {
    /// Folder for the result; made if missing.
    #[arg(long)]
    pub out: PathBuf,
    /// Recipe; the built-in one if absent.
    #[arg(long)]
    pub recipe: Option<PathBuf>,
    /// Secret key to sign with (see `images key new`); made there if missing.
    #[arg(long, env = "GLEANER_KEY", default_value = "gleaner.key")]
    pub key: PathBuf,
    /// Debian mirror; the one in this machine's apt settings if absent.
    #[arg(long, env = "GLEANER_MIRROR")]
    pub mirror: Option<String>,
    /// Date of the result, in seconds since 1970; the date of the packages if absent.
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    pub date: Option<u64>,
    /// node-init to put in: the static one for `ram`; for `node` the one that cargo makes beside node-init-libvirt.
    #[arg(long)]
    pub node_init: Option<PathBuf>,
    /// The program that speaks to libvirt; where cargo puts it if absent.
    #[arg(long)]
    pub node_init_libvirt: Option<PathBuf>,
    /// Put firmware that is not free software in, whatever the recipe says.
    #[arg(long, overrides_with = "no_firmware")]
    pub firmware: bool,
    /// Leave firmware that is not free software out, whatever the recipe says.
    #[arg(long)]
    pub no_firmware: bool,
    /// Fetch today's packages although older ones are in the cache.
    #[arg(long)]
    pub refresh: bool,
    /// Also leave the whole disk in the result, as `disk.img`.
    #[arg(long)]
    pub disk: bool,
}

impl BuildArgs {
    /// What the switches say about firmware, if anything.
    pub fn firmware_choice(&self) -> Option<bool> {
        match (self.firmware, self.no_firmware) {
            (_, true) => Some(false),
            (true, false) => Some(true),
            (false, false) => None,
        }
    }
}

/// How to build a node image.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// What its nodes serve as; what the recipe says if absent.
    #[arg(long)]
    pub role: Option<String>,
    /// Folder with roles of the site's own, a folder each.
    #[arg(long)]
    pub roles: Option<PathBuf>,
    /// All else.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// How to make a node image out of a ready-made one.
#[derive(Debug, Args)]
pub struct CloudArgs {
    /// The image, as its makers publish it: qcow2 or raw, packed by xz or not.
    pub file: PathBuf,
    /// What the node image is called.
    #[arg(long, value_parser = image_name)]
    pub name: String,
    /// Folder for the result; made if missing.
    #[arg(long)]
    pub out: PathBuf,
    /// What there is to check it against.
    #[command(flatten)]
    pub evidence: Evidence,
    /// Keys of which one must have signed the list; needs gpgv.
    #[arg(long, value_name = "FILE", requires = "sums")]
    pub keyring: Option<PathBuf>,
    /// Secret key to sign with (see `images key new`); made there if missing.
    #[arg(long, env = "GLEANER_KEY", default_value = "gleaner.key")]
    pub key: PathBuf,
    /// Date of the image, in seconds since 1970; that of the newest file in its EFI system partition if absent.
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    pub date: Option<u64>,
    /// Debian mirror, for the program that reads qcow2; the one in this machine's apt settings if absent.
    #[arg(long, env = "GLEANER_MIRROR")]
    pub mirror: Option<String>,
}

/// What there is to check a file against: one of these must be said.
#[derive(Clone, Debug, Default, Args)]
#[group(required = true, multiple = false)]
pub struct Evidence {
    /// Its checksum, from the makers' own page.
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// Its checksum, from the makers' own page.
    #[arg(long, value_name = "HEX")]
    pub sha512: Option<String>,
    /// The makers' list of checksums (SHA256SUMS, SHA512SUMS, CHECKSUM), their signature in it or beside it.
    #[arg(long, value_name = "FILE")]
    pub sums: Option<PathBuf>,
    /// Take it although nobody vouches for it.
    #[arg(long)]
    pub unverified: bool,
}

/// Keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key: the secret one (0600) to FILE, the public one beside it. Never overwrites one.
    New {
        /// Secret key file.
        #[arg(default_value = "gleaner.key")]
        file: PathBuf,
    },
    /// Show the public key of a secret key file.
    Show {
        /// Secret key file.
        #[arg(default_value = "gleaner.key")]
        file: PathBuf,
    },
}

fn image_name(word: &str) -> Result<String, String> {
    let name = Manifest::is_name(word).then(|| word.to_owned());
    name.ok_or_else(|| "a-z, 0-9, dot, dash, underscore; a letter or a digit first; at most 63".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_ready_made_image_is_checked_in_one_way_and_not_by_forgetting_to() {
        let parse = |words: &str| {
            let line = format!("images build cloud x.qcow2 --out o --name {words}");
            Cli::try_parse_from(line.split(' ')).is_ok()
        };
        assert!(parse("a --unverified") && parse("a --sums S --keyring K"));
        assert!(!parse("a") && !parse("a --keyring K") && !parse("a --sha256 0 --unverified"));
        assert!(!parse("../a --unverified") && !parse("A --unverified"));
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
