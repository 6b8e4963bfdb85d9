// SPDX-License-Identifier: Apache-2.0
//! Keys and signatures in `testdata` are of a distribution that does not exist; its disc is six bytes long.
#![allow(clippy::unwrap_used)]

use kickstart::families;
use proptest::prelude::*;

use super::*;

const DISC: &[u8] = b"a disc";

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/media/testdata")
        .join(name)
}

/// A folder with the disc, and these files of `testdata` under these names beside it.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new(beside: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("disc.iso"), DISC).unwrap();
        for (file, name) in beside {
            fs::copy(testdata(file), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn check(&self, content: &[u8], evidence: &Evidence) -> Result<Verdict> {
        let medium = self.0.path().join("disc.iso");
        fs::write(&medium, content).unwrap();
        check(&medium, &sha256_of(content), false, evidence)
    }
}

fn keys(name: &str) -> Evidence {
    Evidence {
        keyrings: vec![testdata(name)],
        ..Evidence::default()
    }
}

#[test]
fn every_way_in_which_distributions_sign_is_understood() {
    let ways: [&[(&str, &str)]; 6] = [
        &[("SHA256SUMS", "SHA256SUMS"), ("SHA256SUMS.sign", "SHA256SUMS.sign")],
        &[("SHA256SUMS", "SHA256SUMS"), ("SHA256SUMS.sign", "SHA256SUMS.gpg")],
        &[("CHECKSUM", "Fedora-43-x86_64-CHECKSUM")],
        &[("CHECKSUM", "disc.iso.CHECKSUM")],
        &[("SHA256SUMS", "SHA256SUMS"), ("InRelease", "InRelease")],
        &[("disc.iso.sig", "disc.iso.sig")],
    ];
    for (beside, keyring) in ways
        .into_iter()
        .flat_map(|way| [(way, "maker.gpg"), (way, "maker.asc")])
    {
        let verdict = Lab::new(beside).check(DISC, &keys(keyring)).unwrap();
        let by = "A distribution <release@example.org>".to_owned();
        assert_eq!(verdict.verified, Verified::Signature { by }, "{beside:?} {keyring}");
        verdict.vouch().unwrap();
    }
}

#[test]
fn what_a_stranger_or_nobody_has_signed_vouches_for_nothing() {
    let signed: [&[(&str, &str)]; 4] = [
        &[("SHA256SUMS", "SHA256SUMS"), ("SHA256SUMS.sign", "SHA256SUMS.sign")],
        &[("CHECKSUM", "CHECKSUM")],
        &[("SHA256SUMS", "SHA256SUMS"), ("InRelease", "InRelease")],
        &[("disc.iso.sig", "disc.iso.sig")],
    ];
    let unsigned: [&[(&str, &str)]; 3] = [
        &[],
        &[("SHA256SUMS", "SHA256SUMS")],
        &[("SHA256SUMS", "SHA256SUMS"), ("disc.iso.sig", "SHA256SUMS.sign")],
    ];
    let all = signed.map(|way| (way, "stranger.gpg")).into_iter();
    for (beside, keyring) in all.chain(unsigned.map(|way| (way, "maker.gpg"))) {
        let verdict = Lab::new(beside).check(DISC, &keys(keyring)).unwrap();
        assert_eq!(verdict.verified, Verified::Nothing, "{beside:?}");
        let why = verdict.vouch().unwrap_err().to_string();
        assert!(why.contains("--sha256") && why.contains("--unverified"), "{why}");
    }
}

#[test]
fn a_list_that_was_changed_after_it_was_signed_vouches_for_nothing() {
    let lab = Lab::new(&[("SHA256SUMS", "SHA256SUMS"), ("SHA256SUMS.sign", "SHA256SUMS.sign")]);
    let evil = b"another disc";
    fs::write(
        lab.0.path().join("SHA256SUMS"),
        format!("{}  disc.iso\n", sha256_of(evil)),
    )
    .unwrap();
    assert_eq!(lab.check(evil, &keys("maker.gpg")).unwrap().verified, Verified::Nothing);
    let lab = Lab::new(&[("CHECKSUM", "CHECKSUM")]);
    let text = fs::read_to_string(testdata("CHECKSUM")).unwrap();
    // What stands before or behind the signed part is anybody's.
    let line = format!("SHA256 (disc.iso) = {}\n", sha256_of(evil));
    let signed = text.replace("-----BEGIN PGP SIGNATURE", &format!("{line}-----BEGIN PGP SIGNATURE"));
    for forged in [text.clone() + &line, signed] {
        fs::write(lab.0.path().join("CHECKSUM"), forged).unwrap();
        let verified = lab.check(evil, &keys("maker.gpg")).map(|verdict| verdict.verified);
        assert!(matches!(verified, Ok(Verified::Nothing) | Err(_)), "{verified:?}");
    }
}

#[test]
fn a_damaged_medium_is_refused_whatever_else_speaks_for_it() {
    let lab = Lab::new(&[("SHA256SUMS", "SHA256SUMS")]);
    let why = lab.check(b"a disk", &keys("maker.gpg")).unwrap_err().to_string();
    assert!(why.contains("it is damaged or another one"), "{why}");
    let given = |sha256: &str| Evidence {
        sha256: Some(sha256.into()),
        ..Evidence::default()
    };
    let right = sha256_of(DISC);
    assert!(lab.check(b"a disk", &given(&sha256_of(b"a disk"))).is_err());
    assert!(Lab::new(&[]).check(DISC, &given(&sha256_of(b"a disk"))).is_err());
    assert!(Lab::new(&[]).check(DISC, &given("12")).is_err());
    let verdict = Lab::new(&[]).check(DISC, &given(&right.to_uppercase())).unwrap();
    assert_eq!(verdict.verified, Verified::Checksum);
}

#[test]
fn armour_is_taken_off_and_other_files_are_left_alone() {
    let armoured = fs::read_to_string(testdata("maker.asc")).unwrap();
    let binary = fs::read(testdata("maker.gpg")).unwrap();
    assert_eq!(without_armour(&armoured), Some(binary.clone()));
    let header = armoured.replacen("BLOCK-----\n\n", "BLOCK-----\nVersion: x\nComment: y\n\n", 1);
    assert_eq!(without_armour(&header), Some(binary.clone()));
    assert_eq!(
        without_armour(&(armoured.clone() + &armoured)).unwrap(),
        [binary.clone(), binary].concat()
    );
    assert_eq!(without_armour("no key"), None);
}

proptest! {
    #[test]
    fn no_key_file_is_too_strange(text in "(-----BEGIN PGP PUBLIC KEY BLOCK-----\n)?(\\PC{0,40}\n){0,4}(-----END)?") {
        let _ = without_armour(&text);
    }
}

#[test]
fn who_signs_one_distribution_has_no_say_in_another() {
    let verdict = Verdict {
        verified: Verified::Signature { by: "Debian".into() },
        of: "debian-",
        why: String::new(),
    };
    verdict.speaks_for(families::named("debian-13").unwrap()).unwrap();
    let why = verdict.speaks_for(families::named("rocky-9").unwrap()).unwrap_err();
    assert!(why.to_string().contains("a medium of rocky-9"), "{why}");
}
