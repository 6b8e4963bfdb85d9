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

use crate::programs::Programs;

/// The program that speaks to libvirt, beside nothing else that anybody would call by hand.
pub const HELPER: &str = "/usr/libexec/node-init-libvirt";

/// libvirtd is started by its socket and asks QEMU for its capabilities first: half a minute on an old machine,
/// minutes on an emulated one.
const PATIENCE: Duration = Duration::from_mins(3);

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

/// Whether this build can serve at all.
pub fn can_serve() -> bool {
    cfg!(feature = "libvirt")
}

/// Asks `helper` for the offer, with guests plugged into `bridge`.
pub fn ask(programs: &dyn Programs, helper: &Path, bridge: Option<&str>, kvm: bool) -> anyhow::Result<Offer> {
    let helper = helper.to_string_lossy();
    let kvm = if kvm { "kvm" } else { "qemu" };
    let printed = programs.run(&[&helper, kvm, bridge.unwrap_or("-")], PATIENCE)?;
    serde_json::from_str(&printed).map_err(|e| anyhow::anyhow!("{helper} answered what makes no sense ({e})"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::programs::ProgramError;

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
}
