// SPDX-License-Identifier: Apache-2.0
//! Keys that images are signed with, in the files of minisign: whoever has that program can use, check and replace them.
//!
//! The secret key is not encrypted (minisign calls that `-W`): builds run unattended. Its file is readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use ed25519_dalek::SigningKey;

/// Key algorithm: Ed25519.
const ALGORITHM: &[u8] = b"Ed";
/// Checksum algorithm: `BLAKE2b`.
const CHECKSUM: &[u8] = b"B2";
/// Salt and limits of the key derivation, all zero because there is none.
const DERIVATION: [u8; 50] = [0; 50];
/// Bytes of the decoded secret key file: algorithms (6), salt and limits (48), id (8), secret and public key (64), checksum (32).
const SECRET_LENGTH: usize = 158;

/// An Ed25519 key pair with minisign's key id.
pub struct Key {
    /// Random bytes by which people and programs tell keys apart.
    pub id: [u8; 8],
    /// The key pair.
    pub pair: SigningKey,
}

impl Key {
    /// Makes a key from 40 random bytes: 32 of the secret, 8 of the id.
    pub fn from_random(random: [u8; 40]) -> Self {
        let (mut secret, mut id) = ([0; 32], [0; 8]);
        secret.copy_from_slice(&random[..32]);
        id.copy_from_slice(&random[32..]);
        Self {
            id,
            pair: SigningKey::from_bytes(&secret),
        }
    }

    /// Makes a key and writes it: the secret to `path`, the public one beside it with `.pub`. Never overwrites a key.
    pub fn create(path: &Path) -> Result<Self> {
        let key = Self::from_random(rand::random());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| {
                format!(
                    "creating the secret key {} (an existing one is never overwritten)",
                    path.display()
                )
            })?;
        file.write_all(key.secret_file().as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        file.sync_all().with_context(|| format!("writing {}", path.display()))?;
        let public = public_path(path);
        fs::write(&public, key.public_file()).with_context(|| format!("writing {}", public.display()))?;
        Ok(key)
    }

    /// Reads a secret key file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "reading the secret key {} (make one with: images key new)",
                path.display()
            )
        })?;
        Self::parse(&text).with_context(|| format!("reading the secret key {}", path.display()))
    }

    /// Understands the text of a secret key file.
    pub fn parse(text: &str) -> Result<Self> {
        let line = text.lines().nth(1).context("it has no second line")?;
        let bytes = BASE64.decode(line.trim()).context("its second line is not base64")?;
        ensure!(
            bytes.len() == SECRET_LENGTH && bytes.starts_with(ALGORITHM),
            "it is not a minisign secret key"
        );
        if bytes[2..4] != [0, 0] {
            bail!("it is encrypted; remove the password with minisign -C -W, or make one with: images key new");
        }
        let (mut id, mut pair) = ([0; 8], [0; 64]);
        id.copy_from_slice(&bytes[54..62]);
        pair.copy_from_slice(&bytes[62..126]);
        let pair = SigningKey::from_keypair_bytes(&pair).context("its two halves do not belong together")?;
        let key = Self { id, pair };
        // minisign leaves the checksum of a key without password zero, or fills it in; either way the halves above match.
        let sum = &bytes[126..];
        ensure!(
            sum == key.checksum() || sum.iter().all(|byte| *byte == 0),
            "its checksum is wrong: it is damaged"
        );
        Ok(key)
    }

    /// The id as people read it: minisign prints it as a little-endian number.
    pub fn id_text(&self) -> String {
        hex::encode_upper(self.id.iter().rev().copied().collect::<Vec<_>>())
    }

    /// The base64 line of the public key, as it stands in orders and on command lines.
    pub fn public_line(&self) -> String {
        BASE64.encode([ALGORITHM, &self.id, self.pair.verifying_key().as_bytes()].concat())
    }

    /// The public key file.
    pub fn public_file(&self) -> String {
        format!(
            "untrusted comment: minisign public key {}\n{}\n",
            self.id_text(),
            self.public_line()
        )
    }

    fn secret_file(&self) -> String {
        let pair = self.pair.to_keypair_bytes();
        // 2 bytes "no key derivation", then the checksum's name, then what remains of the derivation.
        let bytes = [
            ALGORITHM,
            &DERIVATION[..2],
            CHECKSUM,
            &DERIVATION[2..],
            &self.id,
            &pair,
            &self.checksum(),
        ]
        .concat();
        format!(
            "untrusted comment: minisign secret key {}\n{}\n",
            self.id_text(),
            BASE64.encode(bytes)
        )
    }

    fn checksum(&self) -> [u8; 32] {
        let mut hash = Blake2b::<U32>::new();
        hash.update(ALGORITHM);
        hash.update(self.id);
        hash.update(self.pair.to_keypair_bytes());
        hash.finalize().into()
    }
}

/// Where the public key of a secret key file lies: the same name with `.pub` for `.key`, or behind it.
pub fn public_path(secret: &Path) -> PathBuf {
    if secret.extension().is_some_and(|extension| extension == "key") {
        return secret.with_extension("pub");
    }
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_written_key_reads_back_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/site.key");
        let made = Key::create(&path).unwrap();
        let read = Key::read(&path).unwrap();
        assert_eq!((read.id, read.pair.to_bytes()), (made.id, made.pair.to_bytes()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(folder.path().join("keys/site.pub")).unwrap(),
            made.public_file()
        );
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.key");
        Key::create(&path).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(Key::create(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_damaged_key_is_refused() {
        let key = Key::from_random([7; 40]);
        let text = key.secret_file();
        assert!(Key::parse(&text).is_ok());
        let line = text.lines().nth(1).unwrap();
        let mut bytes = BASE64.decode(line).unwrap();
        bytes[70] ^= 1;
        assert!(Key::parse(&format!("comment\n{}\n", BASE64.encode(&bytes))).is_err());
        assert!(Key::parse("").is_err());
        assert!(Key::parse("comment\nAAAA\n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(.*\n){0,3}") {
            let _ = Key::parse(&text);
        }
    }
}
