// SPDX-License-Identifier: Apache-2.0
//! The seed of an image for cloud-init: a small FAT file system, made in memory. Pure: files in, bytes out.
//!
//! cloud-init takes it for its data source by the label alone, whatever file systems the image itself has.

use std::io::{Cursor, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use provisioner_api::{SEED_LABEL, SEED_SIZE, Seed};

use super::Trouble;

/// Serial number of the file system; two seeds never meet in one machine.
const SERIAL: u32 = 0x676c_6e72;
/// Bytes of a cluster: some 2,000 of them, well within FAT12.
const CLUSTER: u32 = 2048;

/// The bytes of the partition that holds a seed.
pub fn volume(seed: &Seed) -> Result<Vec<u8>, Trouble> {
    seed.validate().map_err(|error| Trouble::Seed(error.to_string()))?;
    make(seed).map_err(|error| Trouble::Seed(format!("its file system cannot be made: {error}")))
}

fn make(seed: &Seed) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(SEED_SIZE).unwrap_or(0)];
    let mut label = [b' '; 11];
    label[..SEED_LABEL.len()].copy_from_slice(SEED_LABEL.as_bytes());
    let format = FormatVolumeOptions::new()
        .bytes_per_cluster(CLUSTER)
        .fat_type(FatType::Fat12)
        .volume_id(SERIAL)
        .volume_label(label);
    fatfs::format_volume(Cursor::new(&mut bytes[..]), format)?;
    let volume = FileSystem::new(Cursor::new(&mut bytes[..]), FsOptions::new())?;
    for file in &seed.files {
        let mut made = volume.root_dir().create_file(&file.name)?;
        made.write_all(file.content.as_bytes())?;
        made.flush()?;
    }
    volume.unmount()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;
    use std::process::Command;

    use proptest::prelude::*;
    use provisioner_api::{SEED_LIMIT, SeedFile};

    use super::*;

    fn seed(files: &[(&str, &str)]) -> Seed {
        let file = |(name, content): &(&str, &str)| SeedFile {
            name: (*name).into(),
            content: (*content).into(),
        };
        Seed {
            files: files.iter().map(file).collect(),
        }
    }

    /// What another reader finds: label, names, contents.
    fn read(bytes: &[u8]) -> (String, Vec<(String, String)>) {
        let volume = FileSystem::new(Cursor::new(bytes.to_vec()), FsOptions::new()).unwrap();
        let files = volume.root_dir().iter().map(|entry| {
            let entry = entry.unwrap();
            let mut content = String::new();
            entry.to_file().read_to_string(&mut content).unwrap();
            (entry.file_name(), content)
        });
        let files = files.collect();
        (volume.read_volume_label_from_root_dir().unwrap().unwrap(), files)
    }

    /// Debian's own checker has no word to say; `make deps` installs it.
    fn is_sound(bytes: &[u8]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let checked = Command::new("/usr/sbin/fsck.fat")
            .arg("-nV")
            .arg(file.path())
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }

    #[test]
    fn a_seed_is_a_file_system_that_others_read_and_find_sound() {
        let files = [
            ("user-data", "#cloud-config\n"),
            ("meta-data", ""),
            ("network-config", "version: 2\n"),
            ("target.sh", "gr\u{fc}\u{df}e\n"),
        ];
        let bytes = volume(&seed(&files)).unwrap();
        assert_eq!(bytes.len() as u64, SEED_SIZE);
        is_sound(&bytes);
        let (label, found) = read(&bytes);
        assert_eq!(label, "CIDATA");
        assert_eq!(found, files.map(|(name, content)| (name.into(), content.into())));
        assert_eq!(bytes, volume(&seed(&files)).unwrap(), "made again, it is the same");
    }

    #[test]
    fn a_seed_that_nobody_would_read_or_that_leads_elsewhere_is_refused_with_words() {
        for (files, word) in [
            (vec![("user-data", "")], "meta-data"),
            (vec![("user-data", ""), ("meta-data", ""), ("../x", "")], "../x"),
        ] {
            let Err(Trouble::Seed(said)) = volume(&seed(&files)) else {
                panic!("{files:?} must be refused")
            };
            assert!(said.contains(word), "{said}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn every_seed_that_is_valid_fits_and_is_found_again(
            names in prop::collection::btree_set("[a-z0-9][a-z0-9.-]{0,61}[a-z0-9]", 0..14),
            sizes in prop::collection::vec(0_usize..SEED_LIMIT / 16, 16),
        ) {
            let names = names.iter().map(String::as_str).filter(|name| !name.ends_with("-data"));
            let files: Vec<(String, String)> = ["user-data", "meta-data"]
                .into_iter()
                .chain(names)
                .zip(&sizes)
                .map(|(name, size)| (name.into(), "x".repeat(*size)))
                .collect();
            let asked: Vec<(&str, &str)> = files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
            let bytes = volume(&seed(&asked)).unwrap();
            is_sound(&bytes);
            prop_assert_eq!(read(&bytes).1, files);
        }
    }
}
