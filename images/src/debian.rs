// SPDX-License-Identifier: Apache-2.0
//! Trees of Debian packages, fetched by mmdebstrap: either unpacked only (programs and files to pick from) or
//! installed (the base of a node image). Both are kept in the cache.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::fmt::rfc2822;

use crate::cache::Cache;
use crate::mirror::Mirror;
use crate::tool::Tool;

/// Bumped when this file changes what a tree looks like, so that old cache entries are not taken for new ones.
const FORMAT: u32 = 1;

/// Keys that Debian's archive is signed with, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Date that the programs in a tree see while it is installed. What they write with it (initramfs, `/etc/shadow`) gets the
/// date of the image later; it only has to be the same for all. Debian 13 was released on it.
const INSTALL_DATE: &str = "1754697600";

/// Folder in a tree with what mmdebstrap knew about it; left out of images.
pub const NOTES: &str = ".gleaner";

/// What a tree is to hold.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Word for the cache and for people.
    pub what: &'a str,
    /// Debian release by code name.
    pub suite: &'a str,
    /// Archive areas: `main`, and `non-free-firmware` where the site allows it.
    pub components: &'a str,
    /// Packages; what they depend on comes with them, what they recommend does not.
    pub packages: Vec<&'a str>,
    /// How far it goes.
    pub depth: Depth<'a>,
}

/// How far a tree goes.
#[derive(Clone, Debug)]
pub enum Depth<'a> {
    /// Packages are unpacked and no script of theirs is run.
    Unpacked,
    /// Packages are installed, with the paths that dpkg leaves out and shell commands before and after.
    Installed {
        /// Globs that dpkg never unpacks.
        excluded: &'a [String],
        /// Run when the essential packages are there, with the tree as `$1`.
        before: &'a [String],
        /// Run when all packages are there, with the tree as `$1`.
        after: &'a [String],
    },
}

/// A tree in the cache.
#[derive(Clone, Debug)]
pub struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Fetches a tree, or finds it in the cache.
    pub fn fetch(request: &Request, mirror: &Mirror, cache: &Cache) -> Result<Self> {
        let inputs = format!("format {FORMAT}\n{request:#?}\n{mirror:#?}\n");
        let folder = cache.entry(request.what, &inputs, |folder| bootstrap(request, mirror, folder))?;
        Ok(Self { folder })
    }

    /// The tree as mmdebstrap packed it.
    pub fn archive(&self) -> PathBuf {
        self.folder.join("tree.tar")
    }

    /// The unpacked tree, of an [`Depth::Unpacked`] one.
    pub fn files(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Packages inside, `name=version`, sorted.
    pub fn packages(&self) -> Result<Vec<String>> {
        let listing = self.note("packages")?;
        let mut packages: Vec<String> = listing.lines().filter_map(package).collect();
        packages.sort();
        Ok(packages)
    }

    /// Seconds since 1970 of the newest of the archive's own dates: how new the packages can be at most.
    pub fn date(&self) -> Result<u64> {
        let listing = self.note("dates")?;
        let dates = listing
            .lines()
            .filter_map(|line| release_date(line.strip_prefix("Date: ")?));
        dates
            .max()
            .context("reading the dates of the Debian archive: none of its Release files has one")
    }

    fn note(&self, name: &str) -> Result<String> {
        let file = self.folder.join(name);
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    }
}

fn bootstrap(request: &Request, mirror: &Mirror, folder: &Path) -> Result<()> {
    let keyring = Path::new(KEYRING);
    if !keyring.is_file() {
        bail!("Debian's archive keys are missing; install them with: apt-get install debian-archive-keyring");
    }
    // mmdebstrap only says that it failed; this says what to install.
    Tool::host("mmdebstrap")?;
    let root = nix::unistd::geteuid().is_root();
    if !root {
        Tool::host("newuidmap")?;
    }
    let archive = folder.join("tree.tar");
    let notes = format!(
        "mkdir -p \"$1/{NOTES}\"; ls \"$1/var/cache/apt/archives\" > \"$1/{NOTES}/packages\"; \
         grep -h ^Date: \"$1\"/var/lib/apt/lists/*Release > \"$1/{NOTES}/dates\""
    );
    let mut tool = Tool::host("mmdebstrap")?
        .env("SOURCE_DATE_EPOCH", INSTALL_DATE)
        .arg(if root { "--mode=root" } else { "--mode=unshare" })
        .arg(format!("--keyring={KEYRING}"))
        .arg("--architectures=amd64")
        .arg("--aptopt=Acquire::Retries \"3\"")
        .arg("--format=tar")
        .arg(format!("--include={}", request.packages.join(",")));
    for (name, value) in apt_proxies()? {
        tool = tool.arg(format!("--aptopt={name} \"{value}\""));
    }
    match &request.depth {
        Depth::Unpacked => tool = tool.args(["--variant=extract".to_owned(), format!("--extract-hook={notes}")]),
        Depth::Installed {
            excluded,
            before,
            after,
        } => {
            // Settings that are there before their package stay as they are: there is nobody to ask.
            tool = tool.args(["--variant=minbase", "--dpkgopt=force-confold"]);
            tool = tool.args(excluded.iter().map(|glob| format!("--dpkgopt=path-exclude={glob}")));
            tool = tool.args(before.iter().map(|hook| format!("--essential-hook={hook}")));
            tool = tool.args(after.iter().map(|hook| format!("--customize-hook={hook}")));
            let status = "dpkg-query --admindir=\"$1/var/lib/dpkg\" -W -f '${Package}_${Version}_\\n'";
            tool = tool.arg(format!("--customize-hook={notes}; {status} > \"$1/{NOTES}/packages\""));
        }
    }
    tool.arg(request.suite)
        .arg("-")
        .args(mirror.sources(request.suite, request.components, keyring))
        .run_into(File::create(&archive).with_context(|| format!("creating {}", archive.display()))?)?;
    take_out_notes(&archive, folder)?;
    if matches!(request.depth, Depth::Unpacked) {
        unpack(&archive, &folder.join("tree"))?;
        fs::remove_file(&archive).context("removing an unpacked archive")?;
    }
    Ok(())
}

/// The proxies of the host's apt, which mmdebstrap does not take over by itself.
fn apt_proxies() -> Result<Vec<(&'static str, String)>> {
    let mut proxies = Vec::new();
    for name in ["Acquire::http::Proxy", "Acquire::https::Proxy"] {
        let said = Tool::host("apt-config")?.args(["shell", "PROXY", name]).output()?;
        if let Some(value) = said
            .trim()
            .strip_prefix("PROXY='")
            .and_then(|rest| rest.strip_suffix('\''))
        {
            proxies.push((name, value.to_owned()));
        }
    }
    Ok(proxies)
}

fn take_out_notes(archive: &Path, folder: &Path) -> Result<()> {
    let mut tar = tar::Archive::new(BufReader::new(File::open(archive).context("opening a fetched tree")?));
    for entry in tar.entries().context("reading a fetched tree")? {
        let mut entry = entry.context("reading a fetched tree")?;
        let path = entry.path().context("reading a fetched tree")?.into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        for name in ["packages", "dates"] {
            if path == Path::new(NOTES).join(name) {
                entry
                    .unpack(folder.join(name))
                    .with_context(|| format!("unpacking {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Unpacks the files, folders and links of an archive, as whoever runs this; devices are not for picking from.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut tar = tar::Archive::new(BufReader::new(File::open(archive).context("opening a fetched tree")?));
    for entry in tar.entries().context("reading a fetched tree")? {
        let mut entry = entry.context("reading a fetched tree")?;
        let kind = entry.header().entry_type();
        if kind.is_character_special() || kind.is_block_special() || kind.is_fifo() {
            continue;
        }
        let path = entry.path().context("reading a fetched tree")?.into_owned();
        entry
            .unpack_in(folder)
            .with_context(|| format!("unpacking {}", path.display()))?;
    }
    Ok(())
}

/// `name_version_arch.deb`, colons as `%3a`, to `name=version`.
fn package(file: &str) -> Option<String> {
    let (name, rest) = file.split_once('_')?;
    let (version, _) = rest.rsplit_once('_')?;
    Some(format!("{name}={}", version.replace("%3a", ":")))
}

/// `Wed, 18 Nov 2026 22:17:43 UTC` to seconds since 1970.
fn release_date(text: &str) -> Option<u64> {
    let zoned = rfc2822::parse(&text.replace("UTC", "+0000")).ok()?;
    u64::try_from(zoned.timestamp().as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_files_give_name_and_version() {
        assert_eq!(
            package("zlib1g_1%3a1.3.1-1_amd64.deb").as_deref(),
            Some("zlib1g=1:1.3.1-1")
        );
        assert_eq!(package("kmod_34.2-2_").as_deref(), Some("kmod=34.2-2"));
        assert_eq!(package("partial"), None);
    }

    #[test]
    fn the_archives_dates_are_understood() {
        assert_eq!(release_date("Wed, 18 Nov 2026 22:17:43 UTC"), Some(1_795_040_263));
        assert_eq!(release_date("yesterday"), None);
    }
}
