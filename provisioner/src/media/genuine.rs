// SPDX-License-Identifier: Apache-2.0
//! Whether a medium is what its makers published: a signature, a signed list that has its checksum, apt's index, or the
//! checksum that the operator gave.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kickstart::Os;
use provisioner_api::Verified;

use super::sums::{self, Says};
use super::tool::{self, ask};

/// Keyrings that distributions bring along where their packages of keys are installed, and whose media they speak for.
const KEYRINGS: [(&str, &str); 3] = [
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-"),
    ("/usr/share/keyrings/debian-role-keys.gpg", "debian-"),
    ("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-"),
];
/// Names of lists of checksums that lie beside media.
const LISTS: [&str; 5] = ["SHA256SUMS", "sha256sums.txt", "CHECKSUM", "CHECKSUMS", "sha256sum.txt"];
/// What the name of a medium's own list has behind the medium's.
const OWN_LIST: [&str; 4] = [".sha256", ".sha256sum", ".sha256.txt", ".CHECKSUM"];
/// What a signature's name has behind the name of what it signs.
const SIGNATURES: [&str; 4] = [".gpg", ".sign", ".asc", ".sig"];
/// Debian signs the list of its lists.
const RELEASE: [&str; 2] = ["InRelease", "Release"];
/// A list has kilobytes; Debian's index of everything has half a megabyte.
const LARGEST_LIST: u64 = 8 << 20;

/// What there is to check a medium against.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The checksum that the operator gave.
    pub sha256: Option<String>,
    /// A list that the operator named.
    pub list: Option<PathBuf>,
    /// Keys that the operator trusts; those of the distributions where there are none.
    pub keyrings: Vec<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How it is known to be genuine.
    pub(super) verified: Verified,
    /// Of which systems the one who signed can speak, by the beginning of their names; of all where it is empty.
    of: &'static str,
    /// Why nothing better was found, for whoever is told that it is not verified.
    why: String,
}

/// A key file, and for whose media it speaks.
struct Keyring {
    path: PathBuf,
    of: &'static str,
}

/// What a good signature has said.
struct Signed {
    by: String,
    of: &'static str,
}

impl Verdict {
    /// Fails where nobody vouches for the medium.
    pub(super) fn vouch(&self) -> Result<()> {
        ensure!(
            self.verified != Verified::Nothing,
            "nobody vouches for it: {}. Give its checksum from the distribution's own page (--sha256), or put the \
             distribution's signed SHA256SUMS beside it (--keyring FILE says whose keys count), or take it as it is \
             with --unverified",
            self.why
        );
        Ok(())
    }

    /// Fails where somebody vouches for it who has no say in such a system.
    pub(super) fn speaks_for(&self, os: &Os) -> Result<()> {
        ensure!(
            os.name.starts_with(self.of),
            "it was signed with a key of {}*, and it is a medium of {}",
            self.of,
            os.name
        );
        Ok(())
    }
}

/// Finds out what is known of a medium. Fails where something contradicts it, whatever else speaks for it.
pub(super) fn check(medium: &Path, sha256: &str, is_package: bool, evidence: &Evidence) -> Result<Verdict> {
    let verdict = |verified, of| Verdict {
        verified,
        of,
        why: String::new(),
    };
    if let Some(given) = &evidence.sha256 {
        ensure!(
            sums::is_sha256(given),
            "--sha256 {given}: a SHA-256 checksum has 64 hex digits"
        );
        ensure!(
            given.eq_ignore_ascii_case(sha256),
            "its checksum is {sha256} and should be {given}: it is damaged or another one; fetch it again"
        );
    }
    let keyrings = keyrings(evidence)?;
    let (signed, why) = by_signature(medium, sha256, evidence, &keyrings)?;
    if let Some(Signed { by, of }) = signed {
        return Ok(verdict(Verified::Signature { by }, of));
    }
    if is_package && in_package_index(sha256)? {
        return Ok(verdict(Verified::PackageIndex, ""));
    }
    if evidence.sha256.is_some() {
        return Ok(verdict(Verified::Checksum, ""));
    }
    Ok(Verdict {
        why,
        ..verdict(Verified::Nothing, "")
    })
}

/// A signature of the medium itself, or of a list that has it; or why there is none that counts.
fn by_signature(
    medium: &Path,
    sha256: &str,
    evidence: &Evidence,
    keyrings: &[Keyring],
) -> Result<(Option<Signed>, String)> {
    let name = medium.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(signed) = detached(medium, None, keyrings)? {
        return Ok((Some(signed), String::new()));
    }
    let mut why = "there is no list of checksums beside it".to_owned();
    for list in lists(medium, evidence)? {
        let label = list.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (text, signed) = signed_list(&list, keyrings)?;
        match sums::says(&text, &name, sha256) {
            Says::Same if signed.is_some() => return Ok((signed, String::new())),
            Says::Same if keyrings.is_empty() => {
                why = format!("{label} has its checksum, but there is no key on this machine to check who wrote that");
            }
            Says::Same => why = format!("{label} has its checksum, but no signature by a key that counts"),
            Says::Other => {
                bail!("it is not what {label} says ({sha256}): it is damaged or another one; fetch it again")
            }
            Says::Nothing => why = format!("{label} does not list it"),
        }
    }
    Ok((None, why))
}

/// What a list says, and who vouches for it: by a signature, or by a signed list of lists beside it.
fn signed_list(list: &Path, keyrings: &[Keyring]) -> Result<(String, Option<Signed>)> {
    let (text, mut signed) = signed_text(list, keyrings)?;
    let name = list.file_name().unwrap_or_default().to_string_lossy();
    for release in RELEASE.map(|name| list.with_file_name(name)) {
        if signed.is_none() && release.is_file() && release != list {
            let (of_lists, by) = signed_text(&release, keyrings)?;
            let same = sums::says(&of_lists, &name, &sha256_of(text.as_bytes())) == Says::Same;
            signed = by.filter(|_| same);
        }
    }
    Ok((text, signed))
}

/// What a file says, and who signed that, in it or beside it.
fn signed_text(file: &Path, keyrings: &[Keyring]) -> Result<(String, Option<Signed>)> {
    let text = read_list(file)?;
    if let Some((text, signed)) = clear_signed(&text, keyrings)? {
        return Ok((text, Some(signed)));
    }
    let signed = detached(file, Some(&text), keyrings)?;
    Ok((text, signed))
}

/// Lists that may have the medium: the one that was named, or those beside it.
fn lists(medium: &Path, evidence: &Evidence) -> Result<Vec<PathBuf>> {
    if let Some(list) = &evidence.list {
        ensure!(list.is_file(), "there is no list of checksums {}", list.display());
        return Ok(vec![list.clone()]);
    }
    let folder = medium.parent().unwrap_or(Path::new("/"));
    let own = OWN_LIST.map(|ending| with_ending(medium, ending));
    let mut lists: Vec<PathBuf> = own.into_iter().chain(LISTS.map(|name| folder.join(name))).collect();
    // Fedora's has the name of the release before it.
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let fedoras = entries.flatten().map(|entry| entry.path());
    lists.extend(fedoras.filter(|path| path.to_string_lossy().ends_with("-CHECKSUM")));
    lists.retain(|list| list.is_file());
    Ok(lists)
}

fn keyrings(evidence: &Evidence) -> Result<Vec<Keyring>> {
    if evidence.keyrings.is_empty() {
        let there = KEYRINGS.map(|(path, of)| Keyring { path: path.into(), of });
        return Ok(there.into_iter().filter(|keyring| keyring.path.is_file()).collect());
    }
    let given = evidence.keyrings.iter().map(|path| {
        let path = path
            .canonicalize()
            .with_context(|| format!("opening the keyring {}", path.display()))?;
        Ok(Keyring { path, of: "" })
    });
    given.collect()
}

/// Who of these has signed a file, beside which a signature lies; `text` is what was read of it, where it was.
fn detached(file: &Path, text: Option<&str>, keyrings: &[Keyring]) -> Result<Option<Signed>> {
    for signature in SIGNATURES.map(|ending| with_ending(file, ending)) {
        if !signature.is_file() {
            continue;
        }
        for keyring in keyrings {
            // What was read is what must be signed, whatever the file has become since.
            let content = text.map_or(file.as_os_str(), |_| OsStr::new("-"));
            let words = [signature.as_os_str(), content];
            if let Some((signed, _)) = gpgv(keyring, &words, text.unwrap_or_default())? {
                return Ok(Some(signed));
            }
        }
    }
    Ok(None)
}

/// What of a text is signed inside of it, and by whom of these.
fn clear_signed(text: &str, keyrings: &[Keyring]) -> Result<Option<(String, Signed)>> {
    if !text.starts_with("-----BEGIN PGP SIGNED MESSAGE-----") {
        return Ok(None);
    }
    for keyring in keyrings {
        let words = ["--output", "-", "-"].map(OsStr::new);
        if let Some((signed, said)) = gpgv(keyring, &words, text)? {
            // Only what the verifier gives out is signed; what stands before and behind it is anybody's.
            return Ok(Some((said, signed)));
        }
    }
    Ok(None)
}

/// Asks gpgv; who signed, and what it gave out.
fn gpgv(keyring: &Keyring, words: &[&OsStr], input: &str) -> Result<Option<(Signed, String)>> {
    let plain = Binary::of(&keyring.path)?;
    let mut all = ["--status-fd", "2", "--keyring"].map(OsStr::new).to_vec();
    all.push(plain.path.as_os_str());
    all.extend(words);
    let answer = ask("gpgv", &all, input.as_bytes().to_vec())?;
    let told = |word: &str| {
        let mut lines = answer.told.lines();
        lines.find_map(|line| line.strip_prefix("[GNUPG:] ")?.strip_prefix(word))
    };
    if !answer.good || told("VALIDSIG ").is_none() {
        return Ok(None);
    }
    // `GOODSIG <long key id> <name of the owner>`
    let by = told("GOODSIG ").and_then(|line| line.split_once(' '));
    let by = by.map_or("a key of the keyring", |(_, name)| name);
    let signed = Signed {
        by: by.to_owned(),
        of: keyring.of,
    };
    Ok(Some((signed, answer.said)))
}

/// A keyring as gpgv reads it: without armour.
struct Binary {
    path: PathBuf,
    made: bool,
}

impl Binary {
    fn of(keyring: &Path) -> Result<Self> {
        let reading = || format!("reading the keyring {}", keyring.display());
        let content = fs::read(keyring).with_context(reading)?;
        let Some(binary) = std::str::from_utf8(&content).ok().and_then(without_armour) else {
            return Ok(Self {
                path: keyring.to_owned(),
                made: false,
            });
        };
        let path = std::env::temp_dir().join(format!("gleaner-keyring-{}-{}", std::process::id(), sha256_of(&binary)));
        let _ = fs::remove_file(&path);
        let mut file = File::create_new(&path).with_context(|| format!("writing {}", path.display()))?;
        std::io::Write::write_all(&mut file, &binary).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, made: true })
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        if self.made {
            // It holds public keys only.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The keys in ASCII armour (RFC 9580, section 6.2), one block after the other; nothing where there is no armour.
fn without_armour(text: &str) -> Option<Vec<u8>> {
    let mut keys = Vec::new();
    let mut blocks = text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----");
    let before = blocks.next()?;
    if before.len() == text.len() {
        return None;
    }
    for block in blocks {
        let block = block.split("-----END").next()?;
        // Headers end with an empty line, the checksum begins with "=".
        let lines = block
            .lines()
            .map(str::trim)
            .skip(1)
            .skip_while(|line| line.contains(": "));
        let base64: String = lines.filter(|line| !line.starts_with('=')).collect();
        keys.extend(STANDARD.decode(base64).ok()?);
    }
    Some(keys)
}

/// Whether a package with this checksum is in an index that this machine's apt trusts: signed by whom its
/// administrator let in.
fn in_package_index(sha256: &str) -> Result<bool> {
    if !tool::is_there(Path::new("apt-get")) {
        return Ok(false);
    }
    let words = [
        "indextargets",
        "--format",
        "$(TRUSTED) $(FILENAME)",
        "Created-By: Packages",
    ];
    let answer = ask("apt-get", &words.map(OsStr::new), Vec::new())?;
    let line = format!("SHA256: {sha256}");
    for target in answer.said.lines() {
        let Some(index) = target.strip_prefix("yes ") else {
            continue;
        };
        if has_line(Path::new(index), &line)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a text has this line, however apt keeps it.
fn has_line(index: &Path, line: &str) -> Result<bool> {
    const HELPER: &str = "/usr/lib/apt/apt-helper";
    if !tool::is_there(Path::new(HELPER)) {
        return Ok(false);
    }
    tool::says_line(HELPER, &[OsStr::new("cat-file"), index.as_os_str()], line)
}

fn read_list(list: &Path) -> Result<String> {
    let reading = || format!("reading {}", list.display());
    let mut text = Vec::new();
    File::open(list)
        .with_context(reading)?
        .take(LARGEST_LIST)
        .read_to_end(&mut text)
        .with_context(reading)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// SHA-256 of something in memory, in hex.
fn sha256_of(content: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, content))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests;
