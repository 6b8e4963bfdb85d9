// SPDX-License-Identifier: Apache-2.0
//! Anaconda: a kickstart file. What differs between its distributions is where their mirrors keep what.

use super::{Asked, Definition, Family, Os, Packages, Refusals, Security, Served, tools};
use crate::Boot;

pub(super) const DEFINITION: Definition = Definition {
    oses: &[
        os("fedora-43", "43", "fedora"),
        os("centos-stream-9", "9", "el"),
        os("centos-stream-10", "10", "el"),
        os("rocky-9", "9", "el"),
        os("rocky-10", "10", "el"),
        os("alma-9", "9", "el"),
        os("alma-10", "10", "el"),
    ],
    files: &[
        Served {
            name: "ks.cfg",
            template: "redhat/answers.ks",
            content_type: "text/plain",
        },
        Served {
            name: "target.sh",
            template: "redhat/target.sh",
            content_type: "text/x-shellscript",
        },
    ],
    refuse: |_: &Asked, _: &mut Refusals| {},
    needs: |asked| tools(asked, &["curl", "openssh-server", "sudo"]),
    boot: Some(boot),
};

const fn os(name: &'static str, release: &'static str, product: &'static str) -> Os {
    Os {
        name,
        family: Family::RedHat,
        release,
        packages: Packages::Dnf,
        product,
        security: Security::Updates,
    }
}

fn boot(asked: &Asked) -> Boot {
    let tree = if asked.os.product == "el" {
        "BaseOS"
    } else {
        "Everything"
    };
    let arguments = vec![
        format!("inst.repo={}/{tree}/x86_64/os/", asked.spec.mirror.folder()),
        // Of the same medium as the kernel: a mirror goes on to the next minor release, whose modules do not fit it.
        format!("inst.stage2={}", asked.site.media.folder()),
        format!("inst.ks={}", asked.url("ks.cfg")),
        "inst.text".to_owned(),
        "ip=dhcp".to_owned(),
        asked.bootif(),
    ];
    Boot {
        kernel: "images/pxeboot/vmlinuz",
        initrd: "images/pxeboot/initrd.img",
        arguments,
    }
}
