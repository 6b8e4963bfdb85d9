// SPDX-License-Identifier: Apache-2.0
//! What a ready-made image for cloud-init finds beside it on its disk: a `NoCloud` seed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The label by which cloud-init finds a seed (its documentation of the data source `NoCloud`).
pub const SEED_LABEL: &str = "CIDATA";

/// Bytes of the partition that a seed is in.
pub const SEED_SIZE: u64 = 4 * 1024 * 1024;

/// Bytes that all files of a seed may have together: a tenth of this is a long list of packages.
pub const SEED_LIMIT: usize = 1024 * 1024;

/// Files of a seed: cloud-init knows four, and few more are ever fetched from there.
const MOST_FILES: usize = 16;

/// The files of a small FAT file system with the label [`SEED_LABEL`], on the same disk as the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seed {
    /// The files, all in its one folder.
    pub files: Vec<SeedFile>,
}

/// A file of a seed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeedFile {
    /// Its name: `user-data`, `meta-data`; `[a-z0-9][a-z0-9.-]{0,62}`.
    pub name: String,
    /// What is in it; secrets, too.
    pub content: String,
}

impl fmt::Debug for SeedFile {
    /// The name and the size: what is in it is nothing for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} bytes)", self.name, self.content.len())
    }
}

/// Why a seed is not one that may be written to a disk.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeedError {
    /// cloud-init takes no notice of a seed without these.
    #[error("the seed lacks the file {0}")]
    Lacks(&'static str),
    /// A name outside the alphabet, or one that ends like none of a file.
    #[error("{0:?} is not the name of a seed's file (a-z, 0-9, dot, dash; at most 63, no dot at either end)")]
    Name(String),
    /// Two files with one name.
    #[error("the seed has two files {0}")]
    Twice(String),
    /// More files than anybody needs.
    #[error("the seed has {0} files, more than {MOST_FILES}")]
    TooMany(usize),
    /// More bytes than there is room for.
    #[error("the seed has {0} bytes, more than {SEED_LIMIT}")]
    TooLarge(usize),
}

impl Seed {
    /// Checks everything that a writer relies on.
    pub fn validate(&self) -> Result<(), SeedError> {
        if self.files.len() > MOST_FILES {
            return Err(SeedError::TooMany(self.files.len()));
        }
        for (place, file) in self.files.iter().enumerate() {
            if !is_file_name(&file.name) {
                return Err(SeedError::Name(file.name.clone()));
            }
            if self.files[..place].iter().any(|other| other.name == file.name) {
                return Err(SeedError::Twice(file.name.clone()));
            }
        }
        for needed in ["user-data", "meta-data"] {
            if !self.files.iter().any(|file| file.name == needed) {
                return Err(SeedError::Lacks(needed));
            }
        }
        let bytes = self
            .files
            .iter()
            .fold(0_usize, |sum, file| sum.saturating_add(file.content.len()));
        if bytes > SEED_LIMIT {
            return Err(SeedError::TooLarge(bytes));
        }
        Ok(())
    }
}

fn is_file_name(word: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    word.len() <= 63
        && word.chars().all(inner)
        && word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !word.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> SeedFile {
        SeedFile {
            name: name.into(),
            content: "secret".into(),
        }
    }

    fn seed() -> Seed {
        Seed {
            files: ["user-data", "meta-data", "network-config", "target.sh"]
                .map(file)
                .into(),
        }
    }

    #[test]
    fn a_seed_is_what_cloud_init_takes_and_no_name_of_it_leads_anywhere() {
        assert_eq!(seed().validate(), Ok(()));
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "A",
            "a b",
            "a\0",
            "con.",
            "-a",
            &"a".repeat(64),
        ] {
            let mut seed = seed();
            seed.files.push(file(name));
            assert_eq!(seed.validate(), Err(SeedError::Name(name.into())));
        }
    }

    #[test]
    fn a_seed_that_nobody_would_read_or_that_does_not_fit_is_refused() {
        let refused = |change: fn(&mut Seed)| {
            let mut seed = seed();
            change(&mut seed);
            seed.validate().err()
        };
        assert_eq!(refused(|s| s.files.truncate(1)), Some(SeedError::Lacks("meta-data")));
        assert_eq!(refused(|s| s.files.clear()), Some(SeedError::Lacks("user-data")));
        assert_eq!(
            refused(|s| s.files.push(file("user-data"))),
            Some(SeedError::Twice("user-data".into()))
        );
        assert!(matches!(
            refused(|s| s.files.extend((0..20).map(|n| file(&n.to_string())))),
            Some(SeedError::TooMany(24))
        ));
        assert!(matches!(
            refused(|s| s.files[0].content = "x".repeat(SEED_LIMIT)),
            Some(SeedError::TooLarge(_))
        ));
    }

    #[test]
    fn what_is_in_a_seed_is_in_no_log() {
        let text = format!("{:?}", seed());
        assert!(text.contains("target.sh") && !text.contains("secret"), "{text}");
    }
}
