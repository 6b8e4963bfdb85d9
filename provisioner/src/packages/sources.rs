// SPDX-License-Identifier: Apache-2.0
//! What may be fetched through the cache: the sources of packages that the configuration names, and nothing else, so
//! that it is no way for anybody to anything. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kickstart::words::Url;

use super::wanted::Missing;
use crate::config::Config;

/// A source of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its folder.
    pub url: Url,
    /// The profiles that install from it, with their systems: `compute (debian-12)`.
    pub profiles: Vec<String>,
}

/// Where something is fetched from when a client names a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What a client names: the host, with its port where it is not the usual one.
    pub named: String,
    /// Where it is: scheme, host, and port where one is written.
    pub base: String,
}

/// All sources, each once.
pub fn of(config: &Config) -> Vec<Source> {
    let mut all: BTreeMap<Url, Vec<String>> = BTreeMap::new();
    for url in &config.packages.sources {
        all.entry(url.clone()).or_default();
    }
    for (name, profile) in &config.profiles {
        // Who has a proxy of his own does not come here.
        let Some(installer) = profile.installer().filter(|installer| installer.proxy.is_none()) else {
            continue;
        };
        let repositories = installer.repositories.iter().map(|repository| repository.url.clone());
        // Security updates may be in the mirror itself.
        let urls: BTreeSet<Url> = std::iter::once(installer.mirror.clone())
            .chain(installer.security.clone())
            .chain(repositories)
            .collect();
        for url in urls {
            all.entry(url)
                .or_default()
                .push(format!("{name} ({})", installer.os.name));
        }
    }
    all.into_iter()
        .map(|(url, profiles)| Source { url, profiles })
        .collect()
}

/// The hosts of these sources, each once. Clients speak plain HTTP to a proxy; where a source has TLS the cache speaks
/// it, so a host that is named both ways is asked by TLS.
pub fn origins(sources: &[Source]) -> Vec<Origin> {
    let mut all: BTreeMap<String, Origin> = BTreeMap::new();
    for Source { url, .. } in sources {
        let usual = if url.scheme() == "https" { 443 } else { 80 };
        let host = url.host().to_ascii_lowercase();
        let (named, base) = if url.port() == usual {
            (host.clone(), format!("{}://{host}", url.scheme()))
        } else {
            let at = format!("{host}:{}", url.port());
            (at.clone(), format!("{}://{at}", url.scheme()))
        };
        let origin = Origin { named, base };
        let known = all.entry(origin.named.clone()).or_insert_with(|| origin.clone());
        if url.scheme() == "https" {
            *known = origin;
        }
    }
    all.into_values().collect()
}

impl Source {
    /// Whether this is where something would have been.
    pub fn holds(&self, missing: &Missing) -> bool {
        let named = origins(std::slice::from_ref(self))
            .into_iter()
            .any(|origin| origin.named == missing.host);
        let folder = self.url.path().trim_end_matches('/');
        named
            && missing
                .path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::packages::wanted::Reason;

    fn source(url: &str) -> Source {
        Source {
            url: Url::new(url).unwrap(),
            profiles: Vec::new(),
        }
    }

    #[test]
    fn a_client_names_the_host_and_the_cache_speaks_the_tls_of_the_source() {
        let sources = [
            "http://one.example/debian",
            "https://two.example/rpm",
            "http://Two.example/other",
            "https://three.example:8443/x",
            "http://one.example/security",
        ];
        let origins: Vec<_> = origins(&sources.map(source))
            .into_iter()
            .map(|it| (it.named, it.base))
            .collect();
        let expected = [
            ("one.example", "http://one.example"),
            ("three.example:8443", "https://three.example:8443"),
            ("two.example", "https://two.example"),
        ];
        assert_eq!(
            origins,
            expected.map(|(named, base)| (named.to_owned(), base.to_owned()))
        );
    }

    #[test]
    fn what_the_answers_of_a_profile_name_is_allowed_and_nothing_else() {
        let sources = |system: &str| {
            let text = format!(
                "[profiles.x]\ninstaller = \"debian-13\"\nrole = \"plain\"\n[profiles.x.system]\n\
                 mirror = \"http://one.example/debian\"\n{system}"
            );
            let config = Config::parse(&text, std::path::Path::new("/none")).unwrap();
            let urls: Vec<_> = of(&config).into_iter().map(|source| source.url.to_string()).collect();
            urls
        };
        let mirror = "http://one.example/debian";
        assert_eq!(sources(""), [mirror, "http://one.example/debian-security"]);
        let own = "http://two.example/updates";
        assert_eq!(sources(&format!("security = \"{own}\"")), [mirror, own]);
        assert_eq!(sources("security = \"none\""), [mirror]);
    }

    #[test]
    fn what_is_missing_belongs_to_the_source_in_whose_folder_it_would_be() {
        let missing = |path: &str| Missing {
            host: "one.example".into(),
            path: path.into(),
            reason: Reason::Absent,
            times: 1,
            asked_by: String::new(),
            last: 0,
        };
        let debian = source("http://one.example/debian/");
        assert!(debian.holds(&missing("/debian/dists/x")));
        assert!(!debian.holds(&missing("/debian-security/dists/x")));
        assert!(source("http://one.example").holds(&missing("/x")));
        assert!(!source("http://two.example").holds(&missing("/x")));
    }
}
