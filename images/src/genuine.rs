// SPDX-License-Identifier: Apache-2.0
//! Whether a file is what its makers published: by a checksum, or by a list of them that they may have signed.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256, Sha512};

use crate::cli::Evidence;
use crate::tool::Tool;

/// Hex digits of the checksums that are known, by their length.
const SHA256: usize = 64;
const SHA512: usize = 128;
/// What a signature's name has behind the name of what it signs.
const SIGNATURES: [&str; 4] = [".gpg", ".sign", ".asc", ".sig"];
/// Bytes of a list; the longest have kilobytes.
const LARGEST_LIST: u64 = 8 << 20;

/// Checks a file and says, for people, how it is known to be genuine.
pub fn check(file: &Path, evidence: &Evidence, keyring: Option<&Path>) -> Result<String> {
    match evidence {
        Evidence {
            sha256: Some(given), ..
        } => matches(file, given, SHA256).map(|()| "its SHA-256 is the one given".into()),
        Evidence {
            sha512: Some(given), ..
        } => matches(file, given, SHA512).map(|()| "its SHA-512 is the one given".into()),
        Evidence { sums: Some(list), .. } => by_list(file, list, keyring),
        _ => Ok("NOT VERIFIED, as you wished: nobody vouches for it".into()),
    }
}

fn by_list(file: &Path, list: &Path, keyring: Option<&Path>) -> Result<String> {
    let (text, how) = match keyring {
        Some(keyring) => (signed(list, keyring)?, "signed by a key of the keyring"),
        None => (read(list)?, "whose own signature was not checked (--keyring FILE)"),
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let sum = find(&text, &name);
    let sum = sum.with_context(|| {
        format!(
            "{} does not list {name}; the file keeps the name it was published under",
            list.display()
        )
    })?;
    matches(file, sum, sum.len())?;
    Ok(format!("its checksum is in {}, {how}", list.display()))
}

/// What of a list is signed, in it or by a file beside it.
fn signed(list: &Path, keyring: &Path) -> Result<String> {
    let keyring = fs::canonicalize(keyring).with_context(|| format!("opening the keyring {}", keyring.display()))?;
    let gpgv = || Ok::<_, anyhow::Error>(Tool::host("gpgv")?.arg("--keyring").arg(&keyring));
    let about = || {
        format!(
            "checking the signature of {} (the keyring must be a binary one: gpg --dearmor makes it so)",
            list.display()
        )
    };
    let beside = SIGNATURES.map(|ending| PathBuf::from(format!("{}{ending}", list.display())));
    if let Some(signature) = beside.iter().find(|file| file.is_file()) {
        let text = read(list)?;
        gpgv()?.arg(signature).arg(list).run().with_context(about)?;
        return Ok(text);
    }
    // Only what gpgv gives out is signed; what stands before and behind it is anybody's.
    gpgv()?.args(["--output", "-"]).arg(list).output().with_context(about)
}

/// The checksum that a list has for a name: lines of `sha256sum` (`HEX  name`, `HEX *name`) or of BSD (`SHA256 (name) = HEX`).
fn find<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.lines().find_map(|line| {
        let (sum, of) = match line.split_once(" (").and_then(|(_, rest)| rest.split_once(") = ")) {
            Some((of, sum)) => (sum.trim(), of),
            None => line.split_once(char::is_whitespace)?,
        };
        let of = of.trim().trim_start_matches('*');
        let same = of == name || of.strip_prefix("./") == Some(name);
        (same && is_sum(sum)).then_some(sum)
    })
}

fn is_sum(word: &str) -> bool {
    matches!(word.len(), SHA256 | SHA512) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn matches(file: &Path, given: &str, digits: usize) -> Result<()> {
    ensure!(
        is_sum(given) && given.len() == digits,
        "{given:?} is not a checksum of {digits} hex digits"
    );
    let is = if digits == SHA256 {
        hash::<Sha256>(file)?
    } else {
        hash::<Sha512>(file)?
    };
    if !is.eq_ignore_ascii_case(given) {
        bail!("its checksum is {is} and should be {given}: it is damaged or another one; fetch it again");
    }
    Ok(())
}

fn hash<D: Digest + std::io::Write>(file: &Path) -> Result<String> {
    let about = || format!("reading {}", file.display());
    let mut hash = D::new();
    std::io::copy(&mut File::open(file).with_context(about)?, &mut hash).with_context(about)?;
    Ok(hex::encode(hash.finalize()))
}

fn read(list: &Path) -> Result<String> {
    let about = || format!("reading {}", list.display());
    let mut text = String::new();
    let file = File::open(list).with_context(about)?;
    file.take(LARGEST_LIST).read_to_string(&mut text).with_context(about)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn sums(list: &str) -> Evidence {
        Evidence {
            sums: Some(list.into()),
            ..Evidence::default()
        }
    }

    #[test]
    fn lists_of_every_distribution_are_understood() {
        let (short, long) = ("a".repeat(64), "B".repeat(128));
        for (list, sum) in [
            (format!("{long}  image.qcow2\n"), &long),
            (format!("{short} *image.qcow2\n"), &short),
            (format!("{short}  other\n{long}  ./image.qcow2\n"), &long),
            (format!("# a comment\nSHA256 (image.qcow2) = {short}\n"), &short),
        ] {
            assert_eq!(find(&list, "image.qcow2"), Some(sum.as_str()), "{list}");
        }
        assert_eq!(
            find(&format!("{short}  my-image.qcow2\nabc  image.qcow2"), "image.qcow2"),
            None
        );
    }

    #[test]
    fn a_file_is_genuine_or_refused_with_words() {
        let folder = tempfile::tempdir().unwrap();
        let (file, list) = (folder.path().join("x.raw"), folder.path().join("SUMS"));
        fs::write(&file, "abc").unwrap();
        let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        fs::write(&list, format!("{right}  x.raw\n")).unwrap();
        let listed = sums(&list.display().to_string());
        assert!(
            check(&file, &listed, None)
                .unwrap()
                .contains("signature was not checked")
        );
        let given = |sum: &str| Evidence {
            sha256: Some(sum.into()),
            ..Evidence::default()
        };
        assert!(check(&file, &given(&right.to_uppercase()), None).is_ok());
        assert!(
            check(&file, &given("abc"), None)
                .unwrap_err()
                .to_string()
                .contains("64 hex digits")
        );
        assert!(
            check(&file, &Evidence::default(), None)
                .unwrap()
                .contains("NOT VERIFIED")
        );
        fs::write(&file, "abd").unwrap();
        assert!(
            check(&file, &listed, None)
                .unwrap_err()
                .to_string()
                .contains("damaged or another one")
        );
        fs::rename(&file, folder.path().join("y.raw")).unwrap();
        let renamed = check(&folder.path().join("y.raw"), &listed, None).unwrap_err();
        assert!(renamed.to_string().contains("does not list y.raw"), "{renamed:#}");
    }

    /// Of a distribution that does not exist; its disc is six bytes long.
    fn testdata(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testdata").join(name)
    }

    /// What is said of the disc with these files beside it, the first of them the list, and this keyring.
    fn said(beside: &[(&str, &[u8])], keyring: &str) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let disc = folder.path().join("disc.iso");
        fs::write(&disc, "a disc").unwrap();
        for (name, content) in beside {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let evidence = Evidence {
            sums: Some(folder.path().join(beside[0].0)),
            ..Evidence::default()
        };
        check(&disc, &evidence, Some(&testdata(keyring)))
    }

    #[test]
    fn a_list_counts_where_somebody_whom_the_keyring_names_has_signed_it_and_only_what_he_signed() {
        let read = |name: &str| fs::read(testdata(name)).unwrap();
        let (list, signature, clear) = (read("SHA256SUMS"), read("SHA256SUMS.sign"), read("CHECKSUM"));
        let beside = [("SUMS", list.as_slice()), ("SUMS.gpg", signature.as_slice())];
        assert!(said(&beside, "maker.gpg").unwrap().contains("signed by a key"));
        assert!(said(&[("CHECKSUM", &clear)], "maker.gpg").is_ok());
        for keyring in ["stranger.gpg", "nobody.gpg"] {
            assert!(said(&beside, keyring).is_err());
            assert!(said(&[("CHECKSUM", &clear)], keyring).is_err());
        }
        assert!(said(&[("SUMS", &list)], "maker.gpg").is_err(), "no signature at all");
        let other = [list.as_slice(), b"#"].concat();
        assert!(said(&[("SUMS", &other), ("SUMS.gpg", &signature)], "maker.gpg").is_err());
        // What stands before and behind the signed part is anybody's.
        let forged = format!("SHA256 (disc.iso) = {}\n", "0".repeat(64));
        assert!(said(&[("CHECKSUM", &[forged.as_bytes(), &clear].concat())], "maker.gpg").is_ok());
    }

    proptest! {
        #[test]
        fn no_list_makes_the_reader_panic(list in "(?s).{0,200}", name in "\\PC{0,20}") {
            let _ = find(&list, &name);
        }
    }
}
