// SPDX-License-Identifier: Apache-2.0
//! What the installed node offers, as another process found it out.
//!
//! libvirt's client library and what it drags in would cost the daemon 16 MB for ever, and a libvirtd that hangs would
//! hang it too. So the daemon starts `node-init-libvirt` when there is something to ask; that program makes
//! what a node needs (storage pool, network for guests), looks, prints an [`Offer`] and ends.

pub mod capabilities;
#[cfg(feature = "libvirt")]
pub mod libvirt;

use std::path::Path;
use std::time::Duration;

use provisioner_api::{Hypervisor, StoragePool};
use serde::{Deserialize, Serialize};

use crate::programs::{ProgramError, Programs};

/// The program that speaks to libvirt, beside nothing else that anybody would call by hand.
pub const HELPER: &str = "/usr/libexec/node-init-libvirt";

/// libvirtd is started by its socket and asks QEMU for its capabilities first: half a minute on an old machine,
/// minutes on an emulated one.
const PATIENCE: Duration = Duration::from_mins(3);

/// With what the dynamic linker ends a program whose libraries it cannot find, as a shell does (ld.so(8)).
const CANNOT_RUN: i32 = 127;

/// What libvirt can do here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What runs guests.
    pub hypervisor: Hypervisor,
    /// CPU model that libvirt gives guests.
    pub cpu_model: String,
    /// Threads for guests.
    pub threads: u32,
    /// The pool for guests' disks.
    pub storage: Result<StoragePool, String>,
    /// libvirt's network that plugs guests into the bridge, where there is a bridge.
    pub network: Result<Option<String>, String>,
}

/// Asks `helper` for the offer, with guests plugged into `bridge`.
pub fn ask(programs: &dyn Programs, helper: &Path, bridge: Option<&str>, kvm: bool) -> anyhow::Result<Offer> {
    let helper = helper.to_string_lossy();
    let kvm = if kvm { "kvm" } else { "qemu" };
    let printed = programs
        .run(&[&helper, kvm, bridge.unwrap_or("-")], PATIENCE)
        .map_err(explain)?;
    serde_json::from_str(&printed).map_err(|e| anyhow::anyhow!("{helper} answered what makes no sense ({e})"))
}

/// The program is linked with the C library and libvirt's of the system that it runs on. Where one of them is missing or
/// older, it does not even start.
fn explain(error: ProgramError) -> anyhow::Error {
    const NEEDS: &str = "it needs libvirt's client library and glibc 2.34 (Debian 12, Ubuntu 22.04, RHEL 9 and later)";
    match &error {
        ProgramError::Failed {
            code: Some(CANNOT_RUN),
            stderr,
            ..
        } => {
            anyhow::anyhow!("{HELPER} cannot run on this system: {}; {NEEDS}", stderr.trim())
        }
        ProgramError::Start { .. } => anyhow::Error::new(error).context(format!("asking libvirt ({NEEDS})")),
        ProgramError::Failed { .. } | ProgramError::TooLong { .. } => error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Answers(&'static str);

    impl Programs for Answers {
        fn run(&self, command: &[&str], _: Duration) -> Result<String, ProgramError> {
            assert_eq!(command, ["/helper", "qemu", "br0"]);
            Ok(self.0.into())
        }
    }

    #[test]
    fn a_helper_that_prints_nonsense_is_an_error_and_no_panic() {
        for text in ["", "{}", "null", "\u{0}"] {
            assert!(ask(&Answers(text), Path::new("/helper"), Some("br0"), false).is_err());
        }
    }

    #[test]
    fn an_offer_survives_the_way_between_the_processes() {
        const TEXT: &str = r#"{"hypervisor":{"name":"QEMU","version":"10.0.7","libvirt":"11.3.0","virtualization":"qemu"},
            "cpu_model":"EPYC","threads":2,"storage":{"Err":"no room"},"network":{"Ok":"gleaner"}}"#;
        let offer = ask(&Answers(TEXT), Path::new("/helper"), Some("br0"), false).unwrap();
        assert_eq!(
            (offer.storage, offer.network),
            (Err("no room".into()), Ok(Some("gleaner".into())))
        );
    }

    struct Fails(fn() -> ProgramError);

    impl Programs for Fails {
        fn run(&self, _: &[&str], _: Duration) -> Result<String, ProgramError> {
            Err(self.0())
        }
    }

    #[test]
    fn a_system_that_the_helper_cannot_run_on_is_told_in_words() {
        let old = || ProgramError::Failed {
            program: HELPER.into(),
            code: Some(127),
            stdout: String::new(),
            stderr: "version `GLIBC_2.34' not found\n".into(),
        };
        let gone = || ProgramError::Start {
            program: HELPER.into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        for fails in [Fails(old), Fails(gone)] {
            let why = format!("{:#}", ask(&fails, Path::new(HELPER), None, false).unwrap_err());
            assert!(
                why.contains("it needs libvirt's client library and glibc 2.34"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_real_program_without_its_library_ends_as_we_think() {
        let folder = tempfile::tempdir().unwrap();
        let error = crate::programs::Shell
            .run(
                &["sh", "-c", &format!("exec {}/nothing", folder.path().display())],
                PATIENCE,
            )
            .unwrap_err();
        assert_eq!(error.code(), Some(CANNOT_RUN));
    }
}
