// SPDX-License-Identifier: Apache-2.0
//! Where packages come from: the Debian mirror that this machine itself uses, unless told otherwise.

use std::path::Path;

use anyhow::{Result, bail};

use crate::tool::Tool;

/// A Debian mirror and its security archive, without slashes at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The archive with `dists/trixie`.
    pub main: String,
    /// The archive with `dists/trixie-security`, where there is one.
    pub security: Option<String>,
}

impl Mirror {
    /// The given mirror, else the one in the machine's own apt settings.
    pub fn find(given: Option<&str>) -> Result<Self> {
        if let Some(url) = given {
            let main = url.trim_end_matches('/').to_owned();
            let security = main
                .strip_suffix("/debian")
                .map(|base| format!("{base}/debian-security"));
            return Ok(Self { main, security });
        }
        let listing = Tool::host("apt-get")?
            .args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Origin: Debian"])
            .output()?;
        let Some(mirror) = Self::in_listing(&listing) else {
            bail!(
                "no Debian mirror in this machine's apt settings, or no lists of it yet; run `apt-get update`, or name one \
                 with --mirror URL or GLEANER_MIRROR (the address that has dists/ below it)"
            );
        };
        Ok(mirror)
    }

    /// Picks the archives out of lines of `URL CODENAME`.
    fn in_listing(listing: &str) -> Option<Self> {
        let archive = |wanted: fn(&str) -> bool| {
            let lines = listing.lines().filter_map(|line| line.split_once(' '));
            let url = lines
                .filter(|(_, codename)| wanted(codename))
                .map(|(url, _)| url)
                .next()?;
            Some(url.trim_end_matches('/').to_owned())
        };
        let main = archive(|codename| !codename.contains('-'))?;
        Some(Self {
            main,
            security: archive(|codename| codename.ends_with("-security")),
        })
    }

    /// The lines of a `sources.list` for a suite. Updates and security are in it where the mirror has them.
    pub fn sources(&self, suite: &str, components: &str, keyring: &Path) -> Vec<String> {
        let line = |url: &str, suite: &str| format!("deb [signed-by={}] {url} {suite} {components}", keyring.display());
        let mut lines = vec![line(&self.main, suite)];
        let updates = format!("{suite}-updates");
        let security = format!("{suite}-security");
        let extra = [
            Some((&self.main, updates)),
            self.security.as_ref().map(|url| (url, security)),
        ];
        for (url, suite) in extra.into_iter().flatten() {
            if has_suite(url, &suite) {
                lines.push(line(url, &suite));
            } else {
                eprintln!("warning: {url} has no {suite}: the image will lack those updates");
            }
        }
        lines
    }
}

/// apt's own downloader, so that its proxies and certificates count.
fn has_suite(url: &str, suite: &str) -> bool {
    let Ok(folder) = tempfile::tempdir() else { return false };
    Tool::program(Path::new("/usr/lib/apt/apt-helper"))
        .args(["-o", "Acquire::Retries=2", "download-file"])
        .arg(format!("{url}/dists/{suite}/InRelease"))
        .arg(folder.path().join("InRelease"))
        .succeeds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_the_machine_is_used_whatever_its_own_release() {
        let listing = "http://m.example/debian-security/ bookworm-security\nhttp://m.example/debian/ bookworm\n\
                       http://m.example/debian/ bookworm-updates\n";
        let mirror = Mirror::in_listing(listing);
        let security = Some("http://m.example/debian-security".to_owned());
        assert_eq!(
            mirror,
            Some(Mirror {
                main: "http://m.example/debian".into(),
                security
            })
        );
        assert_eq!(Mirror::in_listing(""), None);
    }

    #[test]
    fn a_given_mirror_wins_and_brings_its_security_archive() {
        let mirror = Mirror::find(Some("http://m.example/debian/")).ok();
        assert_eq!(
            mirror.and_then(|m| m.security).as_deref(),
            Some("http://m.example/debian-security")
        );
    }
}
