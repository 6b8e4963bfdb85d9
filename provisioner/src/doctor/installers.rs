// SPDX-License-Identifier: Apache-2.0
//! What keeps the distributions' own installers from doing what the settings say. Pure.

use provisioner_api::Finding;

use super::server::finding;

/// The symptom that the package cache does not run.
pub const PACKAGES_DOWN: &str = "packages-down";

/// What was found out about them.
#[derive(Clone, Debug, Default)]
pub struct Installers {
    /// The site's templates that are not in force.
    pub refused: Option<Refused>,
    /// Systems that no medium installs, and for which profiles.
    pub without_medium: Vec<WithoutMedium>,
    /// Media that nobody vouches for: the system, and what each was imported from.
    pub unverified: Vec<(&'static str, String)>,
    /// The package cache that does not answer, where installers need it.
    pub cache: Option<CacheDown>,
}

/// The site's templates that are not in force.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What is wrong with them.
    pub says: String,
    /// Whether others are in force in their place.
    pub others: bool,
}

/// A profile whose system no medium installs.
#[derive(Clone, Debug)]
pub struct WithoutMedium {
    /// The profile.
    pub profile: String,
    /// The system.
    pub os: &'static str,
    /// What is wrong with the medium that is there.
    pub problem: Option<String>,
}

/// A package cache that does not answer.
#[derive(Clone, Copy, Debug)]
pub struct CacheDown {
    /// Where it should.
    pub port: u16,
    /// Whether there is no other way to any package.
    pub offline: bool,
}

/// Everything that is wrong with them.
pub(super) fn examine(installers: &Installers) -> Vec<Finding> {
    let refused = installers.refused.iter().map(refused);
    let media = installers.without_medium.iter().map(without_medium);
    let unverified = installers.unverified.iter().map(unverified);
    let cache = installers.cache.map(cache);
    refused.chain(media).chain(unverified).chain(cache).collect()
}

fn refused(refused: &Refused) -> Finding {
    Finding {
        grave: !refused.others,
        ..finding(
            "templates-refused",
            &refused.says,
            "right them until provisioner template check is content, then: systemctl reload gleaner-provisioner",
        )
    }
}

fn without_medium(missing: &WithoutMedium) -> Finding {
    let WithoutMedium { profile, os, problem } = missing;
    match problem {
        None => finding(
            "no-medium",
            format!("there is no installer of {os} on this server, and the profile {profile} is installed by it"),
            "import it: provisioner os import FILE",
        ),
        Some(problem) => finding(
            "no-medium",
            format!("the installer of {os} cannot be used for the profile {profile}: {problem}"),
            "import it again: provisioner os import FILE",
        ),
    }
}

/// Not grave: somebody has decided so.
fn unverified((os, source): &(&'static str, String)) -> Finding {
    Finding {
        grave: false,
        ..finding(
            "medium-unverified",
            format!("nobody vouches for the installer of {os} ({source}): it was imported with --unverified"),
            "import it once more with its signature beside it, or with --sha256 from its maker's page; then: provisioner \
             os prune",
        )
    }
}

/// Grave only where there is no other way.
fn cache(cache: CacheDown) -> Finding {
    let consequence = if cache.offline {
        "nothing can be installed"
    } else {
        "every installer fetches packages by itself"
    };
    Finding {
        grave: cache.offline,
        ..finding(
            PACKAGES_DOWN,
            format!(
                "the package cache does not answer on port {}, so {consequence}",
                cache.port
            ),
            "start it: systemctl start gleaner-packages (it needs nginx: apt install nginx-light)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_installers_is_told_with_what_to_do_and_is_grave_where_nothing_can_be_installed() {
        let refused = |others| Installers {
            refused: Some(Refused {
                says: "the templates in /etc/gleaner/templates are refused".into(),
                others,
            }),
            ..Installers::default()
        };
        let missing = |problem: Option<&str>| Installers {
            without_medium: vec![WithoutMedium {
                profile: "compute".into(),
                os: "debian-13",
                problem: problem.map(Into::into),
            }],
            ..Installers::default()
        };
        let cache = |offline| Installers {
            cache: Some(CacheDown { port: 3142, offline }),
            ..Installers::default()
        };
        let unverified = Installers {
            unverified: vec![("rocky-9", "Rocky.iso".into())],
            ..Installers::default()
        };
        for (installers, symptom, grave) in [
            (refused(true), "templates-refused", false),
            (refused(false), "templates-refused", true),
            (missing(None), "no-medium", true),
            (missing(Some("linux is not as it was imported")), "no-medium", true),
            (unverified, "medium-unverified", false),
            (cache(false), PACKAGES_DOWN, false),
            (cache(true), PACKAGES_DOWN, true),
        ] {
            let found = examine(&installers);
            let [finding] = found.as_slice() else {
                panic!("{found:#?}");
            };
            assert_eq!((finding.symptom.as_str(), finding.grave), (symptom, grave));
            assert!(!finding.says.is_empty() && !finding.action.is_empty(), "{finding:?}");
        }
        assert!(examine(&Installers::default()).is_empty());
    }
}
