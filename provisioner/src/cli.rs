// SPDX-License-Identifier: Apache-2.0
//! The command line: what can be asked, and how answers look to people (tables) and programs (`--json`).
//!
//! Every command but `serve`, `init` and `check-config` speaks to the running provisioner over its control socket
//! and knows nothing that the API does not tell.

use std::future::Future;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::api_client::Client;
use crate::config::Config;
use crate::templates::trial;

pub mod check;
pub mod doctor;
pub mod enrol;
mod handover;
pub mod image;
pub mod init;
pub mod node;
pub mod os;
pub mod packages;
pub mod status;
pub mod template;
pub mod token;
mod words;

/// Turns donated PCs into compute nodes: answers DHCP, TFTP and HTTP, and remembers every machine.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Arguments {
    /// Configuration file; absent options have working defaults [default: /etc/gleaner/gleaner.toml, if it is there]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until it is told to stop
    Serve,
    /// Read the configuration and say what it means, or what is wrong with it
    CheckConfig,
    /// Try out the templates on standard input; the program starts itself for it
    #[command(hide = true, name = trial::COMMAND)]
    TryTemplates,
    /// Make the folders, the example configuration, the server's key and the first API token
    Init(Init),
    /// See and steer machines
    #[command(subcommand)]
    Node(Node),
    /// Let batches of unknown machines in, beside another DHCP server
    #[command(subcommand)]
    Enrol(Enrol),
    /// Import and list node images and RAM environments
    #[command(subcommand)]
    Image(Image),
    /// Import, list and remove the boot media of the distributions' own installers
    #[command(subcommand)]
    Os(Os),
    /// The cache through which installers fetch packages, and what it lacks
    #[command(subcommand)]
    Packages(Packages),
    /// Check templates of answer files, and see what a machine would get of them
    #[command(subcommand)]
    Template(Template),
    /// Make, list and revoke tokens for programs that use the API over the network
    #[command(subcommand)]
    Token(Token),
    /// Say how the running server is
    Status,
    /// Say what does not work, here and on every machine's way, and what to do; fails if anything does not
    Doctor,
}

/// What `init` makes.
#[derive(Debug, Args)]
pub struct Init {
    /// Trust this key to sign images (a minisign .pub file); may be given several times
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
    /// Make a new server's key in the place of one that is lost; every installed node then has to be rebuilt
    #[arg(long)]
    pub new_key: bool,
}

/// What can be asked of nodes.
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List all machines that ever registered
    List {
        /// List network cards that were seen lately instead, and how far each start came
        #[arg(long)]
        sightings: bool,
    },
    /// Show one machine: what it is made of, what lies on its disks, what it offers
    Show {
        /// Name or id
        name: String,
    },
    /// Allow a machine's disk to be wiped and installed
    Approve(Approve),
    /// Turn a machine away; it boots its own disk
    Reject {
        /// Name or id
        name: String,
        /// Why, for its screen
        #[arg(long, default_value = "an operator does not want it")]
        why: String,
    },
    /// Wipe and install a node again, once; it comes back as itself
    Rebuild {
        /// Name or id
        name: String,
    },
    /// Say that a start from the network is the machine of a node that is to be installed again
    Confirm {
        /// Name or id
        name: String,
        /// The address that the machine shows on its screen, where several say that they are this node
        #[arg(long, value_name = "ADDRESS")]
        from: Option<std::net::Ipv4Addr>,
    },
    /// Try again after a failure
    Retry {
        /// Name or id
        name: String,
    },
    /// Take a machine out of the cluster for good; its key stops working
    Retire {
        /// Name or id
        name: String,
    },
    /// Give a node no new work
    Drain {
        /// Name or id
        name: String,
    },
    /// Give a draining node work again
    Undrain {
        /// Name or id
        name: String,
    },
    /// Tell what happened, to one machine or to all
    Events {
        /// Name or id; all machines if absent
        name: Option<String>,
        /// How many, the newest
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

/// What an approval may say.
#[derive(Debug, Args)]
pub struct Approve {
    /// Name or id
    pub name: String,
    /// What it becomes [default: the default profile]
    #[arg(long)]
    pub profile: Option<String>,
    /// A new name, also its host name
    #[arg(long = "name", value_name = "NAME")]
    pub rename: Option<String>,
    /// The disk to use, by kernel name, serial number, wwn or path [default: the profile's rule chooses]
    #[arg(long)]
    pub disk: Option<String>,
    /// Do not ask, whatever lies on the disk
    #[arg(long, short)]
    pub yes: bool,
}

/// What can be asked of enrolment windows.
#[derive(Debug, Subcommand)]
pub enum Enrol {
    /// Open a window: unknown machines come in by themselves while it is open
    Open(OpenWindow),
    /// List windows, the newest first
    List,
    /// Close a window before its time
    Close {
        /// Its number
        id: i64,
    },
}

/// What a window may say.
#[derive(Debug, Args)]
pub struct OpenWindow {
    /// How long it stays open: 30m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", default_value = "2h")]
    pub time: String,
    /// How many machines it lets in
    #[arg(long, default_value_t = 30)]
    pub max: u32,
    /// Only cards whose address begins so: 00:1b:21
    #[arg(long)]
    pub mac_prefix: Option<String>,
    /// Only machines that ask through this relay
    #[arg(long)]
    pub relay: Option<std::net::Ipv4Addr>,
    /// Only machines at this switch port, as the relay names it (option 82)
    #[arg(long)]
    pub port: Option<String>,
    /// A label for its nodes; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// What its nodes become where their approval does not say otherwise
    #[arg(long)]
    pub profile: Option<String>,
}

/// What can be asked of images.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// List node images and what is wrong with them
    List,
    /// Verify a folder that `images build` made and take it into the store
    Import {
        /// The folder, of a node image or of a RAM environment
        folder: PathBuf,
    },
}

/// What can be asked of boot media.
#[derive(Debug, Subcommand)]
pub enum Os {
    /// Check an installer's medium, take out what is needed of it, and keep that
    ///
    /// Which system it installs, the medium says itself. It must be what its makers published: its checksum is looked for
    /// in a signed list beside it (SHA256SUMS with SHA256SUMS.gpg, CHECKSUM), in the index that apt has checked
    /// (Debian's packages), or it is given here.
    Import(OsImport),
    /// List the media: how each was verified, and who needs it
    List,
    /// Remove the media that no profile and no installation needs; shows them, and asks
    Prune {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// What is said of a medium.
#[derive(Debug, Args)]
pub struct OsImport {
    /// An ISO, a netboot tarball, a Debian package (.deb), or a folder
    pub medium: PathBuf,
    /// What it installs, where the medium does not say: debian-12, opensuse-leap-16
    #[arg(long)]
    pub os: Option<String>,
    /// Its SHA-256 checksum, from the distribution's own page
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// The list of checksums [default: SHA256SUMS, CHECKSUM and the like beside the medium]
    #[arg(long, value_name = "FILE")]
    pub sums: Option<PathBuf>,
    /// Keys that may vouch for it, binary or ASCII; may be given several times [default: Debian's and Ubuntu's, where
    /// their packages of keys are installed]
    #[arg(long, value_name = "FILE")]
    pub keyring: Vec<PathBuf>,
    /// Take it even if nobody vouches for it; the list shows it for ever
    #[arg(long)]
    pub unverified: bool,
}

/// What can be asked of the package cache.
#[derive(Debug, Subcommand)]
pub enum Packages {
    /// Say how it is and what may be fetched through it
    Status,
    /// List what installers wanted and could not have
    Missing,
    /// Print the configuration that nginx is given
    Config,
    /// Run it until it is told to stop; gleaner-packages.service does
    Serve,
}

/// What can be asked of templates.
#[derive(Debug, Subcommand)]
pub enum Template {
    /// List the templates, and whether the built-in or the site's own is in force
    List,
    /// Say what is wrong with a folder of templates, with file and line; fails if anything is. Needs no running server
    Check {
        /// The folder [default: the site's]
        folder: Option<PathBuf>,
    },
    /// Print a built-in template, to begin one's own with
    Show {
        /// Its path: debian/preseed.preseed
        template: String,
    },
    /// Show what a machine would get, with words in the place of secrets
    Render {
        /// Which machine
        #[command(flatten)]
        trial: Trial,
        /// Only this answer file, as it is served: preseed.cfg
        #[arg(long)]
        file: Option<String>,
    },
    /// Show what the site's own templates change in what a machine would get
    Diff {
        /// Which machine
        #[command(flatten)]
        trial: Trial,
        /// Only this answer file
        #[arg(long)]
        file: Option<String>,
    },
}

/// Which machine, and of which templates.
#[derive(Debug, Args)]
pub struct Trial {
    /// Name or id; a made-up machine if absent
    pub node: Option<String>,
    /// As what [default: as what it was approved, or the default profile]
    #[arg(long)]
    pub profile: Option<String>,
    /// Of the templates in this folder above the built-in ones [default: of those in force]
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// What can be asked of tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token; its secret is shown once
    Create {
        /// A name for the list
        name: String,
    },
    /// List tokens, without their secrets
    List,
    /// Make a token invalid
    Revoke {
        /// Its name
        name: String,
    },
}

/// The client of the provisioner that this configuration describes.
fn client(config: &Config) -> Client {
    Client::new(config.paths.control_socket())
}

/// Runs a conversation with the provisioner to its end.
fn talk<T>(conversation: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .context("starting to speak to the provisioner")?
        .block_on(conversation)
}

/// Prints a value for a program, or what `words` makes of it for a person.
fn answer<T: Serialize>(value: &T, json: bool, words: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(value).context("writing the answer as JSON")?
    } else {
        words(value)
    };
    say(&(text + "\n"))
}

/// Prints a text as it is.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough: `| head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing the answer"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
