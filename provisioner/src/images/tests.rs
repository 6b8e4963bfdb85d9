// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use provisioner_api::{CHUNK_SIZE, Chunk, FIRST_MIB, Partition, PartitionRole, RamFile};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::config::Config;

/// A builder's key, in minisign's notation.
struct Signer {
    key: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    fn new(seed: u8) -> Self {
        Self {
            key: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            id: [seed; 8],
        }
    }

    fn public(&self) -> String {
        let bytes = [b"Ed", self.id.as_slice(), self.key.public_key().as_ref()].concat();
        format!("untrusted comment: minisign public key\n{}\n", STANDARD.encode(bytes))
    }

    fn sign(&self, content: &[u8]) -> String {
        let signature = self.key.sign(&Blake2b512::digest(content));
        let comment = "timestamp:0";
        let line = [b"ED", self.id.as_slice(), signature.as_ref()].concat();
        let global = self.key.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let (line, global) = (STANDARD.encode(line), STANDARD.encode(global));
        format!("untrusted comment: signature\n{line}\ntrusted comment: {comment}\n{global}\n")
    }
}

/// A server's folders and a builder's.
struct Lab {
    folder: tempfile::TempDir,
    store: ImageStore,
}

const BUILDER: u8 = 7;

/// Takes a sound image `debian-13` of this version into a store that trusts the keys of a folder.
pub(crate) fn import_a_version(store: &ImageStore, keys: &Path, version: &str, created: u64) {
    fs::create_dir_all(keys).unwrap();
    fs::write(keys.join("builder.pub"), Signer::new(BUILDER).public()).unwrap();
    let lab = Lab::new();
    let folder = lab.image(version, created, &Signer::new(BUILDER));
    store.refresh().unwrap();
    store.import(&folder, &mut |_, _| ()).unwrap();
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("trusted-keys");
        fs::create_dir(&keys).unwrap();
        fs::write(keys.join("builder.pub"), Signer::new(BUILDER).public()).unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        let store = ImageStore::open(&folder.path().join("state"), &keys).unwrap();
        Self { folder, store }
    }

    fn reopen(&mut self) {
        self.store = ImageStore::open(&self.state(), &self.folder.path().join("trusted-keys")).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Builds an image whose two chunks hold these bytes.
    fn image(&self, version: &str, created: u64, signer: &Signer) -> PathBuf {
        let data = [vec![1; 1000], vec![2; 500]];
        let mut offset = 0;
        let mut chunks = Vec::new();
        for (index, piece) in [(0, &data[0]), (3, &data[1])] {
            let hash = blake3::hash(piece).to_hex().to_string();
            chunks.push(Chunk {
                index,
                disk_hash: hash.clone(),
                hash,
                offset,
                length: piece.len() as u64,
            });
            offset += piece.len() as u64;
        }
        // A copy of the first chunk elsewhere on the disk shares its place.
        chunks.push(Chunk {
            index: 9,
            ..chunks[0].clone()
        });
        let manifest = Manifest {
            format: 1,
            name: "debian-13".into(),
            version: version.into(),
            arch: "amd64".into(),
            created,
            disk_size: 16 * CHUNK_SIZE,
            chunk_size: CHUNK_SIZE,
            data_size: offset,
            partitions: vec![Partition {
                number: 1,
                role: PartitionRole::Root,
                start: FIRST_MIB,
                size: CHUNK_SIZE,
            }],
            chunks,
            packages: vec!["libc6=2.41".into()],
            role: "libvirt".into(),
            cloud_init: false,
        };
        let folder = self.folder.path().join(format!("built-{version}-{created}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("chunks"), data.concat()).unwrap();
        signed(
            &folder,
            "manifest.json",
            &serde_json::to_vec(&manifest).unwrap(),
            signer,
        );
        folder
    }

    fn ram(&self, version: &str, signer: &Signer) -> PathBuf {
        let programs = [RamManifest::NODE_INIT, RamManifest::NODE_INIT_LIBVIRT];
        self.ram_with(version, signer, &programs)
    }

    fn ram_with(&self, version: &str, signer: &Signer, programs: &[&str]) -> PathBuf {
        let folder = self.folder.path().join(format!("ram-{version}"));
        fs::create_dir_all(folder.join("loaders")).unwrap();
        fs::create_dir_all(folder.join("programs")).unwrap();
        let mut files = Vec::new();
        let paths = [&["initrd", "loaders/undionly.kpxe"], programs, &["vmlinuz"]].concat();
        for path in paths {
            let content = format!("{path} of {version}");
            fs::write(folder.join(path), &content).unwrap();
            let blake3 = blake3::hash(content.as_bytes()).to_hex().to_string();
            files.push(RamFile {
                path: path.into(),
                size: content.len() as u64,
                blake3,
            });
        }
        let manifest = RamManifest {
            format: 1,
            name: "ram".into(),
            version: version.into(),
            arch: "amd64".into(),
            created: 1,
            kernel: "6.12".into(),
            nonfree_firmware: false,
            files,
            packages: Vec::new(),
        };
        signed(&folder, "ram.json", &serde_json::to_vec(&manifest).unwrap(), signer);
        folder
    }

    fn import(&self, folder: &Path) -> Result<Imported, ImportError> {
        self.store.import(folder, &mut |_, _| ())
    }

    /// All that is in the store's folders.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.state()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    }
}

fn signed(folder: &Path, name: &str, content: &[u8], signer: &Signer) {
    fs::write(folder.join(name), content).unwrap();
    fs::write(folder.join(format!("{name}.minisig")), signer.sign(content)).unwrap();
}

fn profile(version: Option<&str>) -> Image {
    let config = Config::parse("", Path::new("/etc/gleaner")).unwrap();
    Image {
        version: version.map(Into::into),
        ..config.profiles["compute"].image().unwrap().clone()
    }
}

#[test]
fn a_signed_image_is_taken_in_with_progress_and_offered_to_nodes() {
    let lab = Lab::new();
    let mut heard = Vec::new();
    let folder = lab.image("1", 10, &Signer::new(BUILDER));
    let imported = lab
        .store
        .import(&folder, &mut |done, total| heard.push((done, total)))
        .unwrap();
    assert_eq!(
        imported,
        Imported::Image {
            name: "debian-13".into(),
            version: "1".into()
        }
    );
    assert_eq!(heard, [(1000, 1500), (1500, 1500)]);
    let order = lab.store.for_order(&profile(None), "http://192.0.2.1:8080").unwrap();
    assert_eq!(order.from.url, "http://192.0.2.1:8080/images/debian-13/1");
    assert_eq!(order.from.trusted_keys.len(), 1);
    let stored = lab.store.image("debian-13", "1").unwrap();
    for file in ["manifest.json", "manifest.json.minisig", "chunks"] {
        assert_eq!(
            fs::read(stored.folder.join(file)).unwrap(),
            fs::read(folder.join(file)).unwrap(),
            "{file}"
        );
    }
    assert!(
        stored.manifest.chunks.is_empty(),
        "the list of chunks is not kept in memory"
    );
    assert!(lab.store.list()[0].signed_by.contains("builder"));
}

/// An import that must be refused with these words and change nothing.
fn refused(lab: &Lab, folder: &Path, words: &str) {
    let before = lab.files();
    let error = lab.import(folder).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
    assert_eq!(lab.files(), before, "the store is as it was");
}

#[test]
fn an_image_with_one_wrong_byte_is_refused() {
    let lab = Lab::new();
    let folder = lab.image("1", 10, &Signer::new(BUILDER));
    let mut chunks = fs::read(folder.join("chunks")).unwrap();
    chunks[1200] ^= 1;
    fs::write(folder.join("chunks"), &chunks).unwrap();
    refused(&lab, &folder, "corrupt in chunk 3");
    chunks.truncate(1400);
    fs::write(folder.join("chunks"), &chunks).unwrap();
    refused(&lab, &folder, "1400 bytes instead of 1500");
    assert!(
        lab.store
            .for_order(&profile(None), "")
            .unwrap_err()
            .contains("provisioner image import")
    );
}

#[test]
fn an_image_of_a_foreign_key_or_without_signature_is_refused() {
    let lab = Lab::new();
    let folder = lab.image("1", 10, &Signer::new(8));
    refused(
        &lab,
        &folder,
        "signed by 0808080808080808, which is not in the folder trusted-keys",
    );
    fs::remove_file(folder.join("manifest.json.minisig")).unwrap();
    refused(&lab, &folder, "signature is missing");
    fs::write(folder.join("manifest.json.minisig"), "nonsense").unwrap();
    refused(&lab, &folder, "malformed");
}

#[test]
fn a_list_that_was_changed_after_it_was_signed_is_refused() {
    let lab = Lab::new();
    let folder = lab.image("1", 10, &Signer::new(BUILDER));
    let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
    fs::write(
        folder.join("manifest.json"),
        text.replace("\"arch\":\"amd64\"", "\"arch\":\"amd65\""),
    )
    .unwrap();
    refused(&lab, &folder, "changed after it was signed");
}

#[test]
fn a_signed_list_that_leaves_its_place_is_refused() {
    let lab = Lab::new();
    let folder = lab.image("1", 10, &Signer::new(BUILDER));
    let text = fs::read_to_string(folder.join("manifest.json"))
        .unwrap()
        .replace("debian-13", "../evil");
    signed(&folder, "manifest.json", text.as_bytes(), &Signer::new(BUILDER));
    refused(&lab, &folder, "not an image name");
}

#[test]
fn a_folder_that_holds_no_image_is_refused() {
    let lab = Lab::new();
    let empty = lab.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    refused(&lab, &empty, "is no image");
}

#[test]
fn a_key_that_is_trusted_later_counts_at_once() {
    let lab = Lab::new();
    let other = Signer::new(8);
    let folder = lab.image("1", 10, &other);
    assert!(lab.import(&folder).is_err());
    fs::write(lab.folder.path().join("trusted-keys/other.pub"), other.public()).unwrap();
    lab.import(&folder).unwrap();
    assert!(lab.store.for_order(&profile(None), "").is_ok());
}

#[test]
fn the_newest_image_is_installed_unless_the_profile_names_one() {
    let lab = Lab::new();
    for (version, created) in [("2", 20), ("10", 30), ("1", 10)] {
        lab.import(&lab.image(version, created, &Signer::new(BUILDER))).unwrap();
    }
    assert_eq!(lab.store.for_order(&profile(None), "").unwrap().from.version, "10");
    assert_eq!(lab.store.for_order(&profile(Some("1")), "").unwrap().from.version, "1");
    assert!(
        lab.store
            .for_order(&profile(Some("3")), "")
            .unwrap_err()
            .contains("no image debian-13 3")
    );
}

#[test]
fn two_images_never_share_a_name_and_the_same_one_may_come_twice() {
    let lab = Lab::new();
    let folder = lab.image("1", 10, &Signer::new(BUILDER));
    lab.import(&folder).unwrap();
    refused(
        &lab,
        &lab.image("1", 11, &Signer::new(BUILDER)),
        "give the new one a new version",
    );
    let chunks = lab.store.image("debian-13", "1").unwrap().folder.join("chunks");
    fs::write(&chunks, "damaged").unwrap();
    lab.import(&folder).unwrap();
    assert_eq!(
        fs::read(&chunks).unwrap(),
        fs::read(folder.join("chunks")).unwrap(),
        "and heals what is there"
    );
}

#[test]
fn what_was_damaged_in_the_store_is_kept_out_of_use_visibly() {
    let mut lab = Lab::new();
    lab.import(&lab.image("1", 10, &Signer::new(BUILDER))).unwrap();
    lab.import(&lab.image("2", 20, &Signer::new(BUILDER))).unwrap();
    let newest = lab.store.image("debian-13", "2").unwrap().folder.clone();
    fs::write(newest.join("chunks"), "short").unwrap();
    lab.reopen();
    assert_eq!(
        lab.store.for_order(&profile(None), "").unwrap().from.version,
        "1",
        "the last sound one is used"
    );
    let problem = lab.store.image("debian-13", "2").unwrap().problem.clone().unwrap();
    assert!(problem.contains("import it again"), "{problem}");
    assert!(
        lab.store
            .for_order(&profile(Some("2")), "")
            .unwrap_err()
            .contains("cannot be used")
    );
    assert!(
        lab.store
            .warnings()
            .iter()
            .any(|warning| warning.contains("debian-13 2"))
    );
}

#[test]
fn an_image_whose_key_is_no_longer_trusted_is_not_used_any_more() {
    let mut lab = Lab::new();
    lab.import(&lab.image("1", 10, &Signer::new(BUILDER))).unwrap();
    fs::remove_file(lab.folder.path().join("trusted-keys/builder.pub")).unwrap();
    lab.reopen();
    assert!(
        lab.store
            .for_order(&profile(None), "")
            .unwrap_err()
            .contains("trusts no key")
    );
}

#[test]
fn an_image_that_was_removed_is_noticed_before_it_is_ordered() {
    let lab = Lab::new();
    lab.import(&lab.image("1", 10, &Signer::new(BUILDER))).unwrap();
    fs::remove_dir_all(lab.state().join("images/debian-13")).unwrap();
    assert!(
        lab.store
            .for_order(&profile(None), "")
            .unwrap_err()
            .contains("gone from the server's disk")
    );
}

#[test]
fn an_image_in_another_ones_place_is_not_served_as_that_one() {
    let mut lab = Lab::new();
    lab.import(&lab.image("1", 10, &Signer::new(BUILDER))).unwrap();
    let images = lab.state().join("images/debian-13");
    fs::rename(images.join("1"), images.join("2")).unwrap();
    lab.reopen();
    assert!(lab.store.for_order(&profile(None), "").is_err());
}

#[test]
fn an_import_that_was_cut_short_leaves_nothing_after_a_restart() {
    let mut lab = Lab::new();
    let before = lab.files();
    for unfinished in ["images/.import-1", "ram/.import-1"] {
        fs::create_dir(lab.state().join(unfinished)).unwrap();
        fs::write(lab.state().join(unfinished).join("chunks"), "half").unwrap();
    }
    lab.reopen();
    assert_eq!(lab.files(), before);
}

#[test]
fn a_ram_environment_is_taken_in_and_its_loaders_are_in_memory() {
    let lab = Lab::new();
    assert!(lab.store.ram().unwrap_err().contains("provisioner image import"));
    lab.import(&lab.ram("1", &Signer::new(BUILDER))).unwrap();
    assert_eq!(lab.store.ram().unwrap().manifest.version, "1");
    assert_eq!(lab.store.loader("undionly.kpxe").unwrap(), "loaders/undionly.kpxe of 1");
    assert!(lab.store.loader("../vmlinuz").is_none() && lab.store.loader("vmlinuz").is_none());
}

#[test]
fn an_import_brings_the_programs_that_installers_put_on_disks() {
    let lab = Lab::new();
    assert!(lab.store.programs().unwrap_err().contains("provisioner image import"));
    lab.import(&lab.ram("1", &Signer::new(BUILDER))).unwrap();
    let [node_init, libvirt] = lab.store.programs().unwrap();
    assert_eq!(
        (node_init.name.as_str(), libvirt.name.as_str()),
        ("node-init", "node-init-libvirt")
    );
    assert_eq!(fs::read_to_string(&node_init.path).unwrap(), "programs/node-init of 1");
    let known = sha256("programs/node-init of 1");
    assert_eq!(node_init.sha256, known);
    assert!(lab.store.program(&node_init.sha256, "node-init-libvirt").is_none());
    lab.import(&lab.ram("2", &Signer::new(BUILDER))).unwrap();
    assert_ne!(lab.store.programs().unwrap()[0].sha256, known);
    assert!(
        lab.store.program(&known, "node-init").is_some(),
        "what has begun goes on with its version"
    );
}

fn sha256(content: &str) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, content.as_bytes()))
}

#[test]
fn a_ram_environment_without_programs_boots_and_says_what_it_lacks() {
    let lab = Lab::new();
    lab.import(&lab.ram_with("1", &Signer::new(BUILDER), &[])).unwrap();
    assert!(lab.store.ram().is_ok());
    assert!(lab.store.programs().unwrap_err().contains("build and import it anew"));
}

#[test]
fn a_ram_environment_with_a_wrong_file_is_neither_taken_in_nor_booted() {
    let mut lab = Lab::new();
    let folder = lab.ram("1", &Signer::new(BUILDER));
    lab.import(&folder).unwrap();
    let bad = lab.ram("2", &Signer::new(BUILDER));
    fs::write(bad.join("initrd"), "initrd of evil").unwrap();
    refused(&lab, &bad, "initrd is not what was signed");
    fs::write(lab.state().join("ram/1/vmlinuz"), "vmlinuz of 2").unwrap();
    lab.reopen();
    assert!(lab.store.ram().unwrap_err().contains("vmlinuz is not what was signed"));
    assert!(lab.store.loader("undionly.kpxe").is_none());
}
