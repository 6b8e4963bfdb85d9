// SPDX-License-Identifier: Apache-2.0
//! `YaST`: an `AutoYaST` profile.

use super::{Asked, Definition, Family, Os, Packages, Refusals, Security, Served, tools};
use crate::Boot;

pub(super) const DEFINITION: Definition = Definition {
    oses: &[os("opensuse-leap-15", "15", "Leap"), os("sles-15", "15", "SLES")],
    files: &[
        Served {
            name: "autoinst.xml",
            template: "autoyast/profile.xml",
            content_type: "application/xml",
        },
        Served {
            name: "target.sh",
            template: "autoyast/target.sh",
            content_type: "text/x-shellscript",
        },
    ],
    refuse: |_: &Asked, _: &mut Refusals| {},
    needs: |asked| tools(asked, &["curl", "openssh", "sudo"]),
    boot: Some(boot),
};

const fn os(name: &'static str, release: &'static str, product: &'static str) -> Os {
    Os {
        name,
        family: Family::AutoYast,
        release,
        packages: Packages::Zypper,
        product,
        security: Security::Updates,
    }
}

fn boot(asked: &Asked) -> Boot {
    let arguments = vec![
        format!("install={}", asked.spec.mirror.folder()),
        format!("autoyast={}", asked.url("autoinst.xml")),
        "ifcfg=*=dhcp".to_owned(),
        asked.bootif(),
        "textmode=1".to_owned(),
    ];
    Boot {
        kernel: "boot/x86_64/loader/linux",
        initrd: "boot/x86_64/loader/initrd",
        arguments,
    }
}
