// SPDX-License-Identifier: Apache-2.0
//! Who may log in: a line of `authorized_keys` that OpenSSH reads (sshd(8), "`AUTHORIZED_KEYS` FILE FORMAT").
//!
//! A line that sshd does not read is passed over without a word, and nobody can log in to see why.

use std::fmt;

use serde::{Deserialize, Serialize};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, PublicKey};

use super::{LONG, nearest, one_line};

/// Bits of an RSA key that sshd takes at least (`RequiredRSASize`, `sshd_config(5)`).
const LEAST_RSA_BITS: usize = 1024;
/// Options that sshd knows without a value. It passes over a line with one that it does not know.
const FLAGS: [&str; 13] = [
    "agent-forwarding",
    "cert-authority",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-X11-forwarding",
    "port-forwarding",
    "pty",
    "restrict",
    "user-rc",
    "verify-required",
];
/// One more of these, which has its own line for its length alone.
const X11: &str = "X11-forwarding";
/// Options with a value in double quotes.
const VALUES: [&str; 8] = [
    "command",
    "environment",
    "expiry-time",
    "from",
    "permitlisten",
    "permitopen",
    "principals",
    "tunnel",
];

/// A public SSH key, as a line of `authorized_keys`, with options where they are wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SshKey(String);

/// Why a line is none that OpenSSH reads. Never repeats a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A secret was written where it would be read by many.
    #[error(
        "this is a PRIVATE key, which belongs to its owner alone: take it out of here, make a new pair where others could read \
         it, and give the public half, the one line of the .pub file"
    )]
    Private,
    /// RFC 4716, which OpenSSH does not read there.
    #[error(
        "this is a public key in the SSH2 format, which OpenSSH does not read here; convert it: ssh-keygen -i -f FILE"
    )]
    Ssh2,
    /// Several lines, or one that is cut in two.
    #[error(
        "a key is one line of {LONG} bytes at most, without line breaks, tabs and other control characters, also at its end"
    )]
    Lines,
    /// Nothing that begins like a key.
    #[error(
        "{0:?} is no line of authorized_keys; it begins with a type such as ssh-ed25519 or ecdsa-sha2-nistp256, then come the \
         key in base64 and perhaps a comment"
    )]
    Unknown(String),
    /// A type that sshd does not take.
    #[error("a key of the type {0} is not taken by the sshd of today; make one that is: ssh-keygen -t ed25519")]
    Type(String),
    /// The base64 does not hold a whole key of its type.
    #[error("the key behind {0} is cut off or damaged; copy the whole line of the .pub file")]
    Broken(String),
    /// RSA with too few bits.
    #[error(
        "an RSA key of {0} bits is too short for sshd, which takes {LEAST_RSA_BITS} at least; make a new one: ssh-keygen -t ed25519"
    )]
    Short(usize),
    /// An option that sshd does not know: it would pass over the whole line.
    #[error("sshd knows no option {given:?} and would pass over the line; {hint}")]
    Option {
        /// As it stands there.
        given: String,
        /// What could be meant.
        hint: String,
    },
}

impl SshKey {
    /// Takes a line that OpenSSH reads.
    pub fn new(line: impl Into<String>) -> Result<Self, BadKey> {
        let line = line.into();
        check(line.trim_matches(' ')).map(|()| Self(line.trim_matches(' ').to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SshKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        Self::new(text)
    }
}

impl From<SshKey> for String {
    fn from(key: SshKey) -> Self {
        key.0
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(line: &str) -> Result<(), BadKey> {
    // Before anything that would repeat a part of it. PuTTY's files begin with their own words.
    if line.contains("PRIVATE KEY") || line.contains("PuTTY-User-Key-File") || line.contains("Private-Lines") {
        return Err(BadKey::Private);
    }
    if line.contains("BEGIN SSH2 PUBLIC KEY") {
        return Err(BadKey::Ssh2);
    }
    if line.len() > LONG || !one_line(line) {
        return Err(BadKey::Lines);
    }
    if is_type(line) {
        return key(line);
    }
    let end = end_of_options(line).ok_or_else(|| unknown(line))?;
    let (options, rest) = (&line[..end], line[end..].trim_start_matches(' '));
    if !is_type(rest) {
        return Err(unknown(line));
    }
    split_options(options).into_iter().try_for_each(option)?;
    key(rest)
}

fn unknown(line: &str) -> BadKey {
    // A private key's lines are all letters: no more than would tell what it is.
    BadKey::Unknown(line.chars().take(16).collect())
}

/// Whether a line begins with a word that is the type of a key.
fn is_type(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    let prefixes = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"];
    prefixes.iter().any(|prefix| word.starts_with(prefix)) && !word.contains([',', '=', '"'])
}

fn key(line: &str) -> Result<(), BadKey> {
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let blob = words.next().unwrap_or_default();
    let algorithm = Algorithm::new(kind).map_err(|_| BadKey::Type(kind.chars().take(60).collect()))?;
    if matches!(algorithm, Algorithm::Dsa | Algorithm::Other(_)) {
        return Err(BadKey::Type(kind.chars().take(60).collect()));
    }
    // Without the comment, which may be anything.
    let key = PublicKey::from_openssh(&format!("{kind} {blob}")).map_err(|_| BadKey::Broken(kind.to_owned()))?;
    match key.key_data() {
        KeyData::Rsa(rsa) => {
            let number = rsa.n.as_positive_bytes().unwrap_or_default();
            let bits = number.len() * 8 - number.first().map_or(0, |byte| byte.leading_zeros() as usize);
            if bits < LEAST_RSA_BITS {
                Err(BadKey::Short(bits))
            } else {
                Ok(())
            }
        }
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        _ => Err(BadKey::Type(kind.to_owned())),
    }
}

/// Where the options end: at the first blank outside of quotes. `None` where there is none, or a quote is left open.
fn end_of_options(line: &str) -> Option<usize> {
    outside_quotes(line)
        .find(|(_, letter)| *letter == ' ')
        .map(|(at, _)| at)
}

fn split_options(options: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut start = 0;
    for (at, _) in outside_quotes(options).filter(|(_, letter)| *letter == ',') {
        all.push(&options[start..at]);
        start = at + 1;
    }
    all.push(&options[start..]);
    all
}

/// The letters that stand outside of double quotes; in them a backslash keeps a quote from ending them.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter(move |(_, letter)| {
        match letter {
            '"' if !escaped => quoted = !quoted,
            _ if quoted => {}
            _ => return true,
        }
        escaped = *letter == '\\' && !escaped;
        false
    })
}

fn option(option: &str) -> Result<(), BadKey> {
    let (name, value) = option
        .split_once('=')
        .map_or((option, None), |(name, value)| (name, Some(value)));
    let is = |known: &&str| name.eq_ignore_ascii_case(known);
    let fits = match value {
        None => FLAGS.iter().chain([&X11]).any(&is),
        Some(value) => {
            let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
            quoted && VALUES.iter().any(&is)
        }
    };
    if fits {
        return Ok(());
    }
    let all = FLAGS.into_iter().chain([X11]).chain(VALUES);
    let hint = match nearest(name, all) {
        Some(known) if is(&known) && value.is_some() => format!("its value stands in double quotes: {known}=\"…\""),
        Some(known) => format!("is {known} meant?"),
        None => "see sshd(8), AUTHORIZED_KEYS FILE FORMAT".to_owned(),
    };
    Err(BadKey::Option {
        given: option.chars().take(40).collect(),
        hint,
    })
}
