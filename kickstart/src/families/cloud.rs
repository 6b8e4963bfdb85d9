// SPDX-License-Identifier: Apache-2.0
//! cloud-init: a `NoCloud` seed for a ready-made image, which is on the disk already and has its own kernel. The seed
//! lies beside it on the disk and is whole: to be read it needs no network.

use super::{Asked, Definition, Family, Os, Packages, Refusals, Security, Served};
use crate::spec::{Address, Layout, Swap};

pub(super) const DEFINITION: Definition = Definition {
    oses: &[
        os("cloud-debian", Packages::Apt, Security::Beside("debian-security")),
        os("cloud-ubuntu", Packages::Apt, Security::Inside),
        os("cloud-fedora", Packages::Dnf, Security::Updates),
        os("cloud-opensuse", Packages::Zypper, Security::Updates),
    ],
    files: &[
        Served {
            name: "user-data",
            template: "cloud/user-data.yaml",
            content_type: "text/cloud-config",
        },
        Served {
            name: "meta-data",
            template: "common/meta-data.yaml",
            content_type: "text/yaml",
        },
        Served {
            name: "vendor-data",
            template: "common/vendor-data.yaml",
            content_type: "text/cloud-config",
        },
        Served {
            name: "network-config",
            template: "cloud/network-config.yaml",
            content_type: "text/yaml",
        },
    ],
    refuse,
    needs: |_: &Asked| vec!["curl"],
    boot: None,
};

const fn os(name: &'static str, packages: Packages, security: Security) -> Os {
    Os {
        name,
        family: Family::Cloud,
        release: "",
        packages,
        product: "",
        security,
    }
}

/// The seed is read when the image runs: its disk is partitioned, and its kernel was given its arguments.
fn refuse(asked: &Asked, refusals: &mut Refusals) {
    const INSTEAD: &str = "a ready-made image is on the disk before its seed is read";
    let storage = &asked.spec.storage;
    if storage.layout != Layout::Whole {
        refusals.say("storage.layout", format!("{INSTEAD}; only whole can be had"));
    }
    if storage.swap != Swap::None {
        refusals.say("storage.swap", format!("{INSTEAD}; only none can be had"));
    }
    if asked.os.packages == Packages::Zypper {
        // Its cloud-init (22.4, 25.1) makes of a VLAN one below a device that is not there, and writes no routes.
        const FOR_SUSE: &str = "what cloud-init makes of this for SUSE does not work";
        if asked.spec.network.vlan.is_some() {
            refusals.say("network.vlan", format!("{FOR_SUSE}; have the switch port untagged"));
        }
        if asked.spec.network.address != Address::Dhcp {
            refusals.say("network.address", format!("{FOR_SUSE}; only DHCP can be had"));
        }
    }
    if !asked.spec.kernel_arguments.is_empty() {
        refusals.say(
            "kernel_arguments",
            "a ready-made image starts with its own; make them part of the image",
        );
    }
}
