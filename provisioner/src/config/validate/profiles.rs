// SPDX-License-Identifier: Apache-2.0
//! Profiles: what nodes become, by image, by installer, or by a ready-made image.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kickstart::roles::{self, Roles};
use kickstart::spec::{Layout, Swap};
use kickstart::words::{
    BadWord, ByPath, DeviceName, Host, KernelArgument, Keyboard, Locale, Name, Serial, SshKey, TimeZone, Url, nearest,
};
use kickstart::{Os, families};
use provisioner_api::{Manifest, words};

use super::written;
use super::{PROFILE, size};
use crate::config::{Image, Installer, OWN_NAMES, Profile, Source};
use crate::disks::{Choose, DiskRule};
use crate::install;

/// The image that this repository's recipe builds.
const IMAGE: &str = "debian-13";
/// What installers speak where nobody says.
const LOCALE: &str = "en_US.UTF-8";
/// The keyboard where nobody says.
const KEYBOARD: &str = "us";
/// Said in the place of a source of security updates, where a site has none.
const NO_SECURITY: &str = "none";

pub(super) fn profiles(
    written: BTreeMap<String, written::Profile>,
    roles: &Roles,
) -> Result<BTreeMap<String, Profile>> {
    if written.is_empty() {
        let profile = profile(PROFILE, written::Profile::default(), roles)?;
        return Ok(BTreeMap::from([(PROFILE.to_owned(), profile)]));
    }
    written
        .into_iter()
        .map(|(name, written)| {
            ensure!(
                Name::new(name.as_str()).is_ok() && !OWN_NAMES.contains(&name.as_str()),
                "profiles.{name:?}: a profile's name is 1 to 64 letters, digits and -_., and not {}",
                OWN_NAMES.join(" or ")
            );
            let profile = profile(&name, written, roles)?;
            Ok((name, profile))
        })
        .collect()
}

fn profile(name: &str, mut written: written::Profile, roles: &Roles) -> Result<Profile> {
    let option = |option: &str| format!("profiles.{name}.{option}");
    let keys = keys(&option("ssh_keys"), written.ssh_keys.take().unwrap_or_default())?;
    let kernel_args = written.kernel_args.clone().unwrap_or_default();
    words::kernel_arguments(&kernel_args).with_context(|| option("kernel_args"))?;
    for server in written.ntp.iter().flatten() {
        words::time_server(server).with_context(|| option("ntp"))?;
    }
    let named = written.role.take().unwrap_or_else(|| roles::DEFAULT.into());
    let role = roles.named(&named).with_context(|| option("role"))?;
    if role.guests.is_none() {
        // Nobody would plug into it.
        written.bridge.get_or_insert_default();
    }
    let source = source(&option, &named, &mut written)?;
    if let Source::Installer(installer) | Source::CloudImage(_, installer) = &source {
        // What an image of ours is for, it says itself.
        role.on(installer.os.packages).with_context(|| option("role"))?;
    }
    let profile = Profile {
        source,
        disk: DiskRule {
            choose: choose(&option("disk"), written.disk.as_deref().unwrap_or("smallest"))?,
            min_size: written
                .disk_min
                .as_deref()
                .map_or(Ok(0), |text| size(&option("disk_min"), text))?,
        },
        kernel_args,
        ssh_keys: keys,
        timezone: timezone(&option("timezone"), written.timezone)?.into(),
        bridge: bridge(&option("bridge"), written.bridge)?,
        role: named,
        ntp: written.ntp.unwrap_or_default(),
    };
    // What cannot be installed on any machine is said here, and not when the first one stands there wiped.
    install::try_out(&profile).map_err(|why| anyhow!("{}: {why}", option("system")))?;
    Ok(profile)
}

fn source(option: &dyn Fn(&str) -> String, role: &str, written: &mut written::Profile) -> Result<Source> {
    let root_size = written.root_size.as_deref();
    let root_size = root_size.map(|text| size(&option("root_size"), text)).transpose()?;
    let Some(os) = written.installer.take() else {
        ensure!(
            written.system.is_none(),
            "{}: this table is for an installer, and the profile names none ({} = \"debian-13\")",
            option("system"),
            option("installer")
        );
        return Ok(Source::Image(Image {
            name: image(option, written)?.unwrap_or_else(|| image_for(role)),
            version: version(option, written)?,
            root_size,
        }));
    };
    let os = named(option, &os)?;
    if !os.has_installer() {
        return cloud_image(option, os, written);
    }
    for (name, given) in [
        ("image", written.image.is_some()),
        ("version", written.version.is_some()),
        ("root_size", root_size.is_some()),
    ] {
        ensure!(
            !given,
            "{}: this is for images, and the profile has an installer; leave one of them out",
            option(name)
        );
    }
    installer(option, os, written).map(|installer| Source::Installer(Box::new(installer)))
}

/// The system of this name, of those that there are.
fn named(option: &dyn Fn(&str) -> String, os: &str) -> Result<&'static Os> {
    let known = || families::all().map(|os| os.name).collect::<Vec<_>>();
    families::named(os).with_context(|| {
        let meant = nearest(os, known())
            .map(|known| format!("; is {known} meant?"))
            .unwrap_or_default();
        format!(
            "{}: {os:?} is none of {}{meant}",
            option("installer"),
            known().join(", ")
        )
    })
}

/// The name of an image, of the alphabet that images can have.
fn image(option: &dyn Fn(&str) -> String, written: &mut written::Profile) -> Result<Option<String>> {
    of_images(&option("image"), written.image.take())
}

fn version(option: &dyn Fn(&str) -> String, written: &mut written::Profile) -> Result<Option<String>> {
    of_images(&option("version"), written.version.take())
}

fn of_images(option: &str, word: Option<String>) -> Result<Option<String>> {
    ensure!(
        word.as_deref().is_none_or(Manifest::is_name),
        "{option}: no image can be called {:?} (a-z, 0-9, dot, dash, underscore; at most 63); see: provisioner image list",
        word.unwrap_or_default()
    );
    Ok(word)
}

fn cloud_image(option: &dyn Fn(&str) -> String, os: &'static Os, written: &mut written::Profile) -> Result<Source> {
    ensure!(
        written.root_size.is_none(),
        "{}: a ready-made image takes the whole disk at its first start; leave this out",
        option("root_size")
    );
    let image = Image {
        name: image(option, written)?.with_context(|| {
            format!(
                "{}: {} is what a ready-made image is set up as; name the image that `images build cloud` made of it",
                option("image"),
                os.name
            )
        })?,
        version: version(option, written)?,
        root_size: None,
    };
    installer(option, os, written).map(|installer| Source::CloudImage(image, Box::new(installer)))
}

/// The image that is built for a role (`images build node --role`).
fn image_for(role: &str) -> String {
    if role == roles::DEFAULT {
        IMAGE.into()
    } else {
        format!("{IMAGE}-{role}")
    }
}

fn installer(option: &dyn Fn(&str) -> String, os: &'static Os, written: &written::Profile) -> Result<Installer> {
    let system = written.system.clone().unwrap_or_default();
    let fit = |name: &str, error: BadWord| anyhow!("{}: {error}", option(name));
    let arguments = written
        .kernel_args
        .as_deref()
        .unwrap_or_default()
        .split_ascii_whitespace();
    let bridge = bridge(&option("bridge"), written.bridge.clone())?;
    let mirror = system.mirror.with_context(|| {
        format!(
            "{}: name the mirror that packages come from, such as \"http://mirror.example.org/debian\"",
            option("system.mirror")
        )
    })?;
    Ok(Installer {
        os,
        security: match system.security.as_deref() {
            None => os.security_of(&mirror),
            Some(NO_SECURITY) => None,
            Some(url) => Some(Url::new(url).map_err(|error| fit("system.security", error.into()))?),
        },
        mirror,
        proxy: system.proxy,
        locale: system.locale.map_or_else(|| Locale::new(LOCALE), Ok)?,
        keyboard: system.keyboard.map_or_else(|| Keyboard::new(KEYBOARD), Ok)?,
        timezone: timezone(&option("timezone"), written.timezone.clone())?,
        layout: system.layout.unwrap_or(Layout::Whole),
        swap: system.swap.unwrap_or(Swap::None),
        address: system.address.unwrap_or_default(),
        bond: system.bond,
        vlan: system.vlan,
        bridge: bridge
            .map(DeviceName::new)
            .transpose()
            .map_err(|error| fit("bridge", error.into()))?,
        users: system.users,
        ntp: written
            .ntp
            .iter()
            .flatten()
            .map(|server| Host::new(server.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|error| fit("ntp", error.into()))?,
        packages: system.packages,
        kernel_arguments: arguments
            .map(KernelArgument::new)
            .collect::<Result<_, _>>()
            .map_err(|error| fit("kernel_args", error.into()))?,
        repositories: system.repositories,
        early_commands: system.early_commands,
        late_commands: system.late_commands,
    })
}

fn choose(option: &str, text: &str) -> Result<Choose> {
    const PLACES: &str = "/dev/disk/by-path/";
    let text = text.trim();
    let wrong = |error: BadWord| anyhow!("{option}: {error}");
    Ok(match text.split_once(':') {
        Some(("serial", serial)) => {
            let serial = serial.trim();
            ensure!(
                !serial.starts_with('/'),
                "{option}: {serial:?} is a path and no serial number; `provisioner node show NAME` shows a disk's"
            );
            Choose::Serial(Serial::new(serial).map_err(|error| wrong(error.into()))?.into())
        }
        Some(("by-path", place)) => {
            let place = place.trim();
            let place = place.strip_prefix(PLACES).unwrap_or(place);
            Choose::ByPath(ByPath::new(place).map_err(|error| wrong(error.into()))?.into())
        }
        None if text == "smallest" => Choose::Smallest,
        None if text == "largest" => Choose::Largest,
        None if text == "only" => Choose::Only,
        _ => bail!("{option}: {text:?} is none of smallest, largest, only, serial:…, by-path:…"),
    })
}

/// Lines of `authorized_keys` that OpenSSH reads, whatever they are written into: an image, or an answer file.
fn keys(option: &str, written: Vec<String>) -> Result<Vec<String>> {
    let key = |(at, line): (usize, String)| {
        let key = SshKey::new(line).with_context(|| format!("{option}[{at}]"))?;
        words::authorized_key(key.as_str()).with_context(|| format!("{option}[{at}]"))?;
        Ok(key.into())
    };
    written.into_iter().enumerate().map(key).collect()
}

/// By its present name, whichever was written.
fn timezone(option: &str, written: Option<String>) -> Result<TimeZone> {
    let zone = TimeZone::new(written.unwrap_or_else(|| "UTC".into())).with_context(|| option.to_owned())?;
    words::time_zone(zone.as_str()).with_context(|| option.to_owned())?;
    Ok(zone)
}

fn bridge(option: &str, written: Option<String>) -> Result<Option<String>> {
    let name = written.unwrap_or_else(|| "br0".into());
    if name.is_empty() {
        return Ok(None);
    }
    words::bridge(&name).with_context(|| format!("{option} (\"\" leaves the network alone)"))?;
    Ok(Some(name))
}
