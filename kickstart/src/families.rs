// SPDX-License-Identifier: Apache-2.0
//! The families of installers. A family is a file here that says only what differs, and a folder of templates;
//! docs/families.md says how one is added.

use minijinja::value::Value;
use serde::{Deserialize, Serialize};

use crate::network::{self, Devices};
use crate::site::{Site, Stage};
use crate::spec::{Format, Layout, Spec, Swap};
use crate::words::{PackageName, Url};
use crate::{Boot, Unsupported, value};

mod agama;
mod autoyast;
mod cloud;
mod debian;
mod redhat;
mod ubuntu;

/// An installer and its kind of answer file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// debian-installer and its preseed file.
    Debian,
    /// Subiquity and its autoinstall file.
    Ubuntu,
    /// Anaconda and its kickstart file.
    RedHat,
    /// `YaST` and its `AutoYaST` profile.
    AutoYast,
    /// Agama and its JSON profile.
    Agama,
    /// A ready-made image and its `NoCloud` seed.
    Cloud,
}

/// An operating system that can be installed.
#[derive(Debug, PartialEq, Eq)]
pub struct Os {
    /// How it is asked for: `debian-13`.
    pub name: &'static str,
    /// Its installer.
    pub family: Family,
    /// Its release, as its makers count.
    pub release: &'static str,
    /// What installs packages there.
    pub packages: Packages,
    /// How the family's installer calls it, where it installs several.
    pub product: &'static str,
    /// Where its makers keep security updates.
    pub security: Security,
}

/// Where a distribution keeps security updates, seen from the mirror of its packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Among all others: there is no source of them.
    Updates,
    /// A source of its own in the same folder.
    Inside,
    /// A source of its own in the folder of this name beside the mirror's.
    Beside(&'static str),
}

/// What installs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packages {
    /// Debian's.
    Apt,
    /// Fedora's.
    Dnf,
    /// SUSE's.
    Zypper,
}

/// What differs between families.
pub(crate) struct Definition {
    /// Its systems.
    pub(crate) oses: &'static [Os],
    /// Its answer files.
    pub(crate) files: &'static [Served],
    /// Says which fields it cannot honour.
    pub(crate) refuse: fn(&Asked, &mut Refusals),
    /// Packages that it needs for what is asked.
    pub(crate) needs: fn(&Asked) -> Vec<&'static str>,
    /// What the loader starts, unless what is installed has a kernel of its own already.
    pub(crate) boot: Option<fn(&Asked) -> Boot>,
}

/// An answer file.
pub(crate) struct Served {
    /// What it is called below the site's `answers`.
    pub(crate) name: &'static str,
    /// What makes it.
    pub(crate) template: &'static str,
    /// Its media type.
    pub(crate) content_type: &'static str,
}

/// What is asked of a family.
pub(crate) struct Asked<'a> {
    pub(crate) os: &'static Os,
    pub(crate) spec: &'a Spec,
    pub(crate) site: &'a Site,
}

/// The fields that a family cannot honour.
pub(crate) struct Refusals {
    os: &'static Os,
    list: Vec<Unsupported>,
}

/// Every system that can be installed.
pub fn all() -> impl Iterator<Item = &'static Os> {
    Family::ALL.into_iter().flat_map(|family| family.definition().oses)
}

/// The system of this name.
pub fn named(name: &str) -> Option<&'static Os> {
    all().find(|os| os.name == name)
}

impl Packages {
    /// All.
    pub const ALL: [Self; 3] = [Self::Apt, Self::Dnf, Self::Zypper];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Zypper => "zypper",
        }
    }
}

impl Os {
    /// Whether it is installed by an installer that a loader starts; else its image brings its own kernel.
    pub fn has_installer(&self) -> bool {
        self.family.definition().boot.is_some()
    }

    /// Where the server of a mirror has the security updates, if it is laid out as its distribution's own are.
    pub fn security_of(&self, mirror: &Url) -> Option<Url> {
        match self.security {
            Security::Updates => None,
            Security::Inside => Some(mirror.clone()),
            Security::Beside(folder) => {
                let above = mirror.path().trim_end_matches('/').rsplit_once('/');
                let above = above.map_or("", |(above, _)| above);
                Url::new(format!("{}://{}{above}/{folder}", mirror.scheme(), mirror.authority())).ok()
            }
        }
    }
}

impl Family {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Debian,
        Self::Ubuntu,
        Self::RedHat,
        Self::AutoYast,
        Self::Agama,
        Self::Cloud,
    ];

    pub(crate) fn definition(self) -> &'static Definition {
        match self {
            Self::Debian => &debian::DEFINITION,
            Self::Ubuntu => &ubuntu::DEFINITION,
            Self::RedHat => &redhat::DEFINITION,
            Self::AutoYast => &autoyast::DEFINITION,
            Self::Agama => &agama::DEFINITION,
            Self::Cloud => &cloud::DEFINITION,
        }
    }
}

/// What every template can name.
#[derive(Serialize)]
struct Context<'a> {
    spec: &'a Spec,
    site: &'a Site,
    /// Folder of the answer files, without a slash at its end.
    answers: &'a str,
    os: OsContext,
    /// The devices of the network.
    net: Devices<'a>,
    /// Packages of the distribution: the machine's, the role's and those that the family needs.
    packages: Vec<&'a str>,
    /// URLs in their parts, for installers that want them so.
    mirror: UrlParts<'a>,
    security: Option<UrlParts<'a>>,
    progress: UrlParts<'a>,
    failure: UrlParts<'a>,
    /// The words of the stages.
    stage: Stages,
}

#[derive(Serialize)]
struct OsContext {
    name: &'static str,
    release: &'static str,
    packages: Packages,
    product: &'static str,
}

#[derive(Serialize)]
struct UrlParts<'a> {
    scheme: &'a str,
    authority: &'a str,
    host: &'a str,
    port: u16,
    path: &'a str,
    folder: &'a str,
}

#[derive(Serialize)]
struct Stages {
    pre: &'static str,
    partitioning: &'static str,
    packages: &'static str,
    late: &'static str,
    done: &'static str,
}

impl Asked<'_> {
    pub(crate) fn context(&self) -> Value {
        let Self { os, spec, site } = self;
        let mut packages: Vec<&str> = spec.all_packages().into_iter().map(PackageName::as_str).collect();
        for needed in (os.family.definition().needs)(self) {
            if !packages.contains(&needed) {
                packages.push(needed);
            }
        }
        value(Context {
            spec,
            site,
            answers: site.answers.folder(),
            os: OsContext {
                name: os.name,
                release: os.release,
                packages: os.packages,
                product: os.product,
            },
            net: network::devices(&spec.network),
            packages,
            mirror: parts(&spec.mirror),
            security: spec.security.as_ref().map(parts),
            progress: parts(&site.hooks.progress),
            failure: parts(&site.hooks.failure),
            stage: Stages {
                pre: Stage::Pre.word(),
                partitioning: Stage::Partitioning.word(),
                packages: Stage::Packages.word(),
                late: Stage::Late.word(),
                done: Stage::Done.word(),
            },
        })
    }

    /// An answer file's URL.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.site.answers.folder())
    }

    /// The card that the installer works with, as PXE's loaders tell it (`BOOTIF=`).
    pub(crate) fn bootif(&self) -> String {
        let mac = self.spec.network.cards().first().map_or("", |mac| mac.as_str());
        format!("BOOTIF=01-{}", mac.replace(':', "-"))
    }
}

fn parts(url: &Url) -> UrlParts<'_> {
    UrlParts {
        scheme: url.scheme(),
        authority: url.authority(),
        host: url.host(),
        port: url.port(),
        path: url.path(),
        folder: url.folder(),
    }
}

/// Packages that every system of a family gets, with those that its storage needs.
fn tools(asked: &Asked, always: &[&'static str]) -> Vec<&'static str> {
    let mut needed = always.to_vec();
    if let Swap::Encrypted(_) = asked.spec.storage.swap {
        needed.push("cryptsetup");
    }
    if let Layout::Raid1 { .. } = asked.spec.storage.layout {
        needed.push("mdadm");
    }
    needed
}

/// What no family can do that is not made for it: packages of another kind, and a source that it does not have.
pub(crate) fn refuse(asked: &Asked, refusals: &mut Refusals) {
    if asked.spec.security.is_some() && asked.os.security == Security::Updates {
        refusals.say(
            "security",
            "its security updates come from its mirror, with all others; leave this out",
        );
    }
    for (i, repository) in asked.spec.repositories.iter().enumerate() {
        let fits = matches!(
            (&repository.format, asked.os.packages),
            (Format::Deb { .. }, Packages::Apt) | (Format::Rpm, Packages::Dnf | Packages::Zypper)
        );
        if !fits {
            refusals.say(
                format!("repositories[{i}].format"),
                "its packages are of another kind; name a source made for it",
            );
        }
    }
}

impl Refusals {
    pub(crate) fn new(os: &'static Os) -> Self {
        Self { os, list: Vec::new() }
    }

    pub(crate) fn say(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.list.push(Unsupported {
            family: self.os.name,
            field: field.into(),
            why: why.into(),
        });
    }

    pub(crate) fn into_inner(self) -> Vec<Unsupported> {
        self.list
    }
}
