// SPDX-License-Identifier: Apache-2.0
//! What each installer needs of its medium: under which names it is served, and where the makers keep it.

use kickstart::Family;

/// A file of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name below the medium's path, as the loader and the installer ask for it.
    pub place: &'static str,
    /// Where it comes from.
    pub from: From,
    /// Whether the installer cannot do without it.
    pub needed: bool,
}

/// Where a file of a medium comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// From inside of it, at the first of these paths that is there.
    Inside(&'static [&'static str]),
    /// It is the medium as a whole.
    Whole,
}

/// Every file that a family's installer needs; none for one that is not started from a medium.
pub const fn of(family: Family) -> &'static [Wanted] {
    match family {
        Family::Debian => DEBIAN,
        Family::Ubuntu => UBUNTU,
        Family::RedHat => RED_HAT,
        Family::AutoYast => AUTOYAST,
        Family::Agama => AGAMA,
        Family::Cloud => &[],
    }
}

/// The file of a family that is served at this place.
pub fn wanted(family: Family, place: &str) -> Option<&'static Wanted> {
    of(family).iter().find(|wanted| wanted.place == place)
}

/// The netboot image in Debian's packages (below the folder of the text installer), in its tarball, and unpacked.
const DEBIAN: &[Wanted] = &[
    inside("linux", &["debian-installer/amd64/linux", "linux"]),
    inside("initrd.gz", &["debian-installer/amd64/initrd.gz", "initrd.gz"]),
];

/// casper fetches the whole disc (`url=`) and finds the system in it.
const UBUNTU: &[Wanted] = &[
    inside("casper/vmlinuz", &["casper/vmlinuz"]),
    inside("casper/initrd", &["casper/initrd"]),
    Wanted {
        place: "installer.iso",
        from: From::Whole,
        needed: true,
    },
];

/// Anaconda's second stage comes from where `.treeinfo` says; of the same medium it always fits the kernel.
const RED_HAT: &[Wanted] = &[
    inside("images/pxeboot/vmlinuz", &["images/pxeboot/vmlinuz"]),
    inside("images/pxeboot/initrd.img", &["images/pxeboot/initrd.img"]),
    inside("images/install.img", &["images/install.img"]),
    // Discs that only start the installer have none; it then looks for the second stage at the usual place.
    Wanted {
        needed: false,
        ..inside(".treeinfo", &[".treeinfo"])
    },
];

/// `YaST` itself comes from the mirror (`install=`).
const AUTOYAST: &[Wanted] = &[
    inside("boot/x86_64/loader/linux", &["boot/x86_64/loader/linux"]),
    inside("boot/x86_64/loader/initrd", &["boot/x86_64/loader/initrd"]),
];

/// Agama lives in the image that dracut fetches (`root=live:`).
const AGAMA: &[Wanted] = &[
    inside("boot/x86_64/loader/linux", &["boot/x86_64/loader/linux"]),
    inside("boot/x86_64/loader/initrd", &["boot/x86_64/loader/initrd"]),
    inside("LiveOS/squashfs.img", &["LiveOS/squashfs.img"]),
];

const fn inside(place: &'static str, paths: &'static [&'static str]) -> Wanted {
    Wanted {
        place,
        from: From::Inside(paths),
        needed: true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kickstart::{Templates, families, samples};

    use super::*;

    #[test]
    fn every_kernel_and_initramfs_that_an_installer_is_started_with_is_part_of_its_medium() {
        let templates = Templates::built_in().unwrap();
        let spec = samples::plain().unwrap().check().unwrap();
        for os in families::all() {
            let answer = kickstart::render(&templates, os, &spec, &samples::site()).unwrap();
            let Some(boot) = answer.boot else {
                assert!(of(os.family).is_empty(), "{}", os.name);
                continue;
            };
            for file in [boot.kernel, boot.initrd] {
                assert!(wanted(os.family, file).is_some(), "{}: {file}", os.name);
            }
            // What arguments name below the medium is there as well.
            let media = samples::site().media.folder().to_owned() + "/";
            for argument in &boot.arguments {
                if let Some((_, file)) = argument.split_once(&media) {
                    assert!(wanted(os.family, file).is_some(), "{}: {argument}", os.name);
                }
            }
        }
    }
}
