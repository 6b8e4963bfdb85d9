// SPDX-License-Identifier: Apache-2.0
//! debian-installer: a preseed file, and scripts that its commands fetch.

use super::{Asked, Definition, Family, Os, Packages, Refusals, Security, Served, tools};
use crate::Boot;

pub(super) const DEFINITION: Definition = Definition {
    oses: &[os("debian-12", "12"), os("debian-13", "13")],
    files: &[
        Served {
            name: "preseed.cfg",
            template: "debian/preseed.preseed",
            content_type: "text/plain",
        },
        Served {
            name: "early.sh",
            template: "debian/early.sh",
            content_type: "text/x-shellscript",
        },
        Served {
            name: "partman.sh",
            template: "debian/partman.sh",
            content_type: "text/x-shellscript",
        },
        Served {
            name: "late.sh",
            template: "debian/late.sh",
            content_type: "text/x-shellscript",
        },
        Served {
            name: "target.sh",
            template: "debian/target.sh",
            content_type: "text/x-shellscript",
        },
    ],
    refuse,
    needs,
    boot: Some(boot),
};

const fn os(name: &'static str, release: &'static str) -> Os {
    Os {
        name,
        family: Family::Debian,
        release,
        packages: Packages::Apt,
        product: "",
        security: Security::Beside("debian-security"),
    }
}

/// The installer's busybox has `wget` without TLS and without POST, and `nc`.
fn refuse(asked: &Asked, refusals: &mut Refusals) {
    let hooks = &asked.site.hooks;
    let plain = [
        ("site.answers", &asked.site.answers),
        ("site.hooks.progress", &hooks.progress),
        ("site.hooks.failure", &hooks.failure),
    ];
    for (field, url) in plain {
        if url.scheme() != "http" {
            refusals.say(
                field,
                format!("{url} given, and its installer speaks no TLS; give a http:// URL"),
            );
        }
    }
}

fn needs(asked: &Asked) -> Vec<&'static str> {
    let mut needed = tools(asked, &["ca-certificates", "curl", "openssh-server", "sudo"]);
    // The part of systemd that reads crypttab is a package of its own since Debian 13.
    if needed.contains(&"cryptsetup") && asked.os.release != "12" {
        needed.push("systemd-cryptsetup");
    }
    if !asked.spec.ntp.is_empty() {
        needed.push("systemd-timesyncd");
    }
    needed
}

fn boot(asked: &Asked) -> Boot {
    let arguments = vec![
        "auto=true".to_owned(),
        // The locale is asked for before the network is there, and the answers come over the network.
        "priority=critical".to_owned(),
        format!("url={}", asked.url("preseed.cfg")),
        "interface=auto".to_owned(),
        asked.bootif(),
        format!("hostname={}", asked.spec.hostname),
        // An empty domain is an answer too; without one the installer asks.
        "domain=".to_owned(),
        // A segment of our own has no router, and packages come through the server: without these words it asks whether to
        // go on, and for name servers where none is announced.
        "netcfg/no_default_route=true".to_owned(),
        "netcfg/get_nameservers=".to_owned(),
        // Below 780 MB it says that memory is low, and waits for somebody to press a key, unless it was said before.
        "lowmem/low=note".to_owned(),
    ];
    Boot {
        kernel: "linux",
        initrd: "initrd.gz",
        arguments,
    }
}
