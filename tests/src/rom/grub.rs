// SPDX-License-Identifier: Apache-2.0
//! The way of shim and GRUB, as Debian's do it: whatever comes, comes the way that shim came, by TFTP or by HTTP.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use super::dhcp::{Answer, Voice};
use super::ether::Ether;
use super::script::{self, Script};
use super::{Rom, ask, tftp};

/// What shim asks for before it loads GRUB; none of it has to be there.
const OPTIONAL: [&str; 3] = ["revocations_sku.efi", "revocations_sbat.efi", "shim_certificate_0.efi"];

/// A boot that came as far as the machine's own script.
#[derive(Clone, Debug)]
pub struct Boot {
    /// What it says.
    pub script: Script,
    /// Its text.
    pub text: String,
    way: Way,
}

/// How files come.
#[derive(Clone, Debug)]
enum Way {
    Tftp { from: Ipv4Addr, server: Ipv4Addr },
    Http { from: Ipv4Addr, base: String },
}

impl Rom {
    /// From power-on to the boot script, for firmware that is told to start shim.
    pub fn boot_by_grub(&self, ether: &Ether) -> Result<Boot> {
        let mut repeats = 0;
        let answer = self.configure(ether, Voice::Firmware, &mut repeats)?;
        let (way, folder) = self.way(&answer)?;
        way.fetch(&format!("{folder}shimx64.efi"))?;
        for name in OPTIONAL {
            ensure!(way.fetch(&format!("{folder}{name}")).is_err(), "{name} is there");
        }
        // By HTTP, shim 16 doubles the slash.
        let doubled = if self.kind.is_http() { "/" } else { "" };
        way.fetch(&format!("{folder}{doubled}grubx64.efi"))?;
        let first = String::from_utf8(way.fetch("/grub/grub.cfg")?).context("reading the first script")?;
        let own = first.lines().find_map(|line| line.trim().strip_prefix("source "));
        let own = own.with_context(|| format!("the first script asks for no other:\n{first}"))?;
        let known = |text: &str| {
            text.replace("${net_default_mac}", &self.mac_text())
                .replace("${uuid}", &self.uuid_text())
                .replace("${lockdown}", "y")
        };
        let text = way.fetch(&known(own.trim_matches('"')))?;
        let text = known(std::str::from_utf8(&text).context("reading the machine's script")?);
        let script = script::parse_grub(&text)?;
        Ok(Boot { script, text, way })
    }

    fn way(&self, answer: &Answer) -> Result<(Way, String)> {
        let (from, server) = super::addresses(answer)?;
        let file = &answer.boot_file;
        let folder = file.strip_suffix("shimx64.efi");
        let folder = folder.with_context(|| format!("{} was told to load {file:?}", self.mac_text()))?;
        if !self.kind.is_http() {
            let server = answer.next_server.unwrap_or(server);
            return Ok((Way::Tftp { from, server }, folder.to_owned()));
        }
        let path = folder.strip_prefix("http://").and_then(|rest| rest.find('/'));
        let path = "http://".len() + path.with_context(|| format!("{file} is no URL"))?;
        let base = folder[..path].to_owned();
        Ok((Way::Http { from, base }, folder[path..].to_owned()))
    }

    fn uuid_text(&self) -> String {
        let hex = hex::encode(self.uuid.unwrap_or_default());
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

impl Boot {
    /// What the machine boots that has chosen in its menu.
    pub fn choose(&self, path: &str) -> Result<Script> {
        let text = String::from_utf8(self.way.fetch(path)?).context("reading the chosen script")?;
        script::parse_grub(&text)
    }

    /// Fetches kernel and initramfs: their bytes.
    pub fn fetch_kernel(&self) -> Result<usize> {
        let (Script::Discover { kernel, initrd, .. } | Script::Install { kernel, initrd, .. }) = &self.script else {
            anyhow::bail!("nothing is to be started: {:?}", self.script)
        };
        Ok(self.way.fetch(kernel)?.len() + self.way.fetch(initrd)?.len())
    }
}

impl Way {
    fn fetch(&self, path: &str) -> Result<Vec<u8>> {
        match self {
            Self::Tftp { from, server } => tftp::fetch(*from, *server, path, true),
            Self::Http { from, base } => {
                let url = format!("{base}{path}");
                let (head, reply) = (ask(*from, "HEAD", &url)?, ask(*from, "GET", &url)?);
                ensure!(reply.status == 200, "{url} was answered with {}", reply.status);
                ensure!(
                    head.header("content-length") == reply.header("content-length"),
                    "HEAD and GET of {url} differ"
                );
                Ok(reply.body)
            }
        }
    }
}
