// SPDX-License-Identifier: Apache-2.0
//! Subiquity: an autoinstall file inside a cloud-init seed.

use super::{Asked, Definition, Family, Os, Packages, Refusals, Security, Served, tools};
use crate::Boot;

pub(super) const DEFINITION: Definition = Definition {
    oses: &[os("ubuntu-24.04", "24.04"), os("ubuntu-26.04", "26.04")],
    files: &[
        Served {
            name: "user-data",
            template: "ubuntu/user-data.yaml",
            content_type: "text/cloud-config",
        },
        Served {
            name: "meta-data",
            template: "common/meta-data.yaml",
            content_type: "text/yaml",
        },
        // cloud-init asks for it and waits where nothing answers.
        Served {
            name: "vendor-data",
            template: "common/vendor-data.yaml",
            content_type: "text/cloud-config",
        },
        Served {
            name: "target.sh",
            template: "ubuntu/target.sh",
            content_type: "text/x-shellscript",
        },
    ],
    refuse: |_: &Asked, _: &mut Refusals| {},
    needs: |asked| tools(asked, &["ca-certificates", "curl"]),
    boot: Some(boot),
};

const fn os(name: &'static str, release: &'static str) -> Os {
    Os {
        name,
        family: Family::Ubuntu,
        release,
        packages: Packages::Apt,
        product: "",
        security: Security::Inside,
    }
}

fn boot(asked: &Asked) -> Boot {
    let arguments = vec![
        "ip=dhcp".to_owned(),
        asked.bootif(),
        format!("url={}/installer.iso", asked.site.media.folder()),
        // Without this word Subiquity asks whether it may erase the disk.
        "autoinstall".to_owned(),
        format!("ds=nocloud;s={}/", asked.site.answers.folder()),
        // The seed above is the only one; else cloud-init looks for others for minutes.
        "cloud-config-url=/dev/null".to_owned(),
    ];
    Boot {
        kernel: "casper/vmlinuz",
        initrd: "casper/initrd",
        arguments,
    }
}
