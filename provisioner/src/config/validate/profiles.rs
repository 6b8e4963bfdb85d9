// SPDX-License-Identifier: Apache-2.0
//! Profiles: what nodes become, by image, by installer, or by a ready-made image.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kickstart::roles::{self, Roles};
use kickstart::spec::{Layout, Swap};
use kickstart::words::{DeviceName, Host, KernelArgument, Keyboard, Locale, SshKey, TimeZone, Unfit, Url};
use kickstart::{Os, families};

use super::written;
use super::{PROFILE, one_line, size};
use crate::config::{Image, Installer, Profile, Source};
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
            let profile = profile(&name, written, roles)?;
            Ok((name, profile))
        })
        .collect()
}

fn profile(name: &str, mut written: written::Profile, roles: &Roles) -> Result<Profile> {
    let option = |option: &str| format!("profiles.{name}.{option}");
    let keys = written.ssh_keys.clone().unwrap_or_default();
    for key in &keys {
        ensure!(
            !key.trim().is_empty() && !key.chars().any(char::is_control),
            "{}: one line of authorized_keys each",
            option("ssh_keys")
        );
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
        kernel_args: one_line(&option("kernel_args"), written.kernel_args.unwrap_or_default())?,
        ssh_keys: keys,
        timezone: timezone(&option("timezone"), written.timezone)?,
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
            name: written.image.take().unwrap_or_else(|| image_for(role)),
            version: written.version.take(),
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
    families::named(os).with_context(|| format!("{}: {os:?} is none of {}", option("installer"), known().join(", ")))
}

fn cloud_image(option: &dyn Fn(&str) -> String, os: &'static Os, written: &mut written::Profile) -> Result<Source> {
    ensure!(
        written.root_size.is_none(),
        "{}: a ready-made image takes the whole disk at its first start; leave this out",
        option("root_size")
    );
    let image = Image {
        name: written.image.take().with_context(|| {
            format!(
                "{}: {} is what a ready-made image is set up as; name the image that `images build cloud` made of it",
                option("image"),
                os.name
            )
        })?,
        version: written.version.take(),
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
    let fit = |name: &str, error: Unfit| anyhow!("{}: {error}", option(name));
    let arguments = written
        .kernel_args
        .as_deref()
        .unwrap_or_default()
        .split_ascii_whitespace();
    let bridge = bridge(&option("bridge"), written.bridge.clone())?;
    for key in written.ssh_keys.iter().flatten() {
        SshKey::new(key.as_str()).map_err(|error| fit("ssh_keys", error))?;
    }
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
            Some(url) => Some(Url::new(url).map_err(|error| fit("system.security", error))?),
        },
        mirror,
        proxy: system.proxy,
        locale: system.locale.map_or_else(|| Locale::new(LOCALE), Ok)?,
        keyboard: system.keyboard.map_or_else(|| Keyboard::new(KEYBOARD), Ok)?,
        timezone: TimeZone::new(timezone(&option("timezone"), written.timezone.clone())?)
            .map_err(|error| fit("timezone", error))?,
        layout: system.layout.unwrap_or(Layout::Whole),
        swap: system.swap.unwrap_or(Swap::None),
        address: system.address.unwrap_or_default(),
        bond: system.bond,
        vlan: system.vlan,
        bridge: bridge
            .map(DeviceName::new)
            .transpose()
            .map_err(|error| fit("bridge", error))?,
        users: system.users,
        ntp: written
            .ntp
            .iter()
            .flatten()
            .map(|server| Host::new(server.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|error| fit("ntp", error))?,
        packages: system.packages,
        kernel_arguments: arguments
            .map(KernelArgument::new)
            .collect::<Result<_, _>>()
            .map_err(|error| fit("kernel_args", error))?,
        repositories: system.repositories,
        early_commands: system.early_commands,
        late_commands: system.late_commands,
    })
}

fn choose(option: &str, text: &str) -> Result<Choose> {
    Ok(match text.split_once(':') {
        Some(("serial", serial)) if !serial.is_empty() => Choose::Serial(serial.into()),
        Some(("by-path", path)) if !path.is_empty() => Choose::ByPath(path.into()),
        None if text == "smallest" => Choose::Smallest,
        None if text == "largest" => Choose::Largest,
        None if text == "only" => Choose::Only,
        _ => bail!("{option}: {text:?} is none of smallest, largest, only, serial:…, by-path:…"),
    })
}

fn timezone(option: &str, written: Option<String>) -> Result<String> {
    let zone = written.unwrap_or_else(|| "UTC".into());
    // It becomes part of a path on the node.
    let good = zone.split('/').all(|part| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    });
    ensure!(good, "{option}: {zone:?} is not like \"Europe/Vienna\"");
    Ok(zone)
}

fn bridge(option: &str, written: Option<String>) -> Result<Option<String>> {
    let name = written.unwrap_or_else(|| "br0".into());
    // IFNAMSIZ is 16 with the closing zero.
    let good = name.len() <= 15 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    ensure!(
        good,
        "{option}: {name:?} is no name for an interface (15 letters, digits, dashes at most)"
    );
    Ok((!name.is_empty()).then_some(name))
}
