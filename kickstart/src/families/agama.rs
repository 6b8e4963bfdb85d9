// SPDX-License-Identifier: Apache-2.0
//! Agama: a JSON profile.

use super::{Asked, Definition, Family, Os, Packages, Refusals, Security, Served, tools};
use crate::Boot;

pub(super) const DEFINITION: Definition = Definition {
    oses: &[
        os("opensuse-leap-16", "16.0", "openSUSE_Leap"),
        os("opensuse-tumbleweed", "tumbleweed", "Tumbleweed"),
        os("sles-16", "16.0", "SLES"),
    ],
    files: &[
        Served {
            name: "profile.json",
            template: "agama/profile.json",
            content_type: "application/json",
        },
        Served {
            name: "target.sh",
            template: "agama/target.sh",
            content_type: "text/x-shellscript",
        },
    ],
    refuse: |_: &Asked, _: &mut Refusals| {},
    needs: |asked| tools(asked, &["NetworkManager", "curl", "openssh", "sudo"]),
    boot: Some(boot),
};

const fn os(name: &'static str, release: &'static str, product: &'static str) -> Os {
    Os {
        name,
        family: Family::Agama,
        release,
        packages: Packages::Zypper,
        product,
        security: Security::Updates,
    }
}

fn boot(asked: &Asked) -> Boot {
    let mut arguments = vec![
        format!("root=live:{}/LiveOS/squashfs.img", asked.site.media.folder()),
        format!("inst.install_url={}", asked.spec.mirror.folder()),
        format!("inst.auto={}", asked.url("profile.json")),
        "ip=dhcp".to_owned(),
        "rd.neednet=1".to_owned(),
        asked.bootif(),
    ];
    if let Some(proxy) = &asked.spec.proxy {
        arguments.push(format!("proxy={proxy}"));
    }
    Boot {
        kernel: "boot/x86_64/loader/linux",
        initrd: "boot/x86_64/loader/initrd",
        arguments,
    }
}
