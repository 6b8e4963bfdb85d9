// SPDX-License-Identifier: Apache-2.0
//! The three files that make systemd-networkd put a bridge over a card. Texts in, texts out.

use provisioner_api::words::{self, Unwritable};

/// The file that the life in RAM wrote for the card; it stays as it is and is what a rollback comes back to.
pub const CARD_NETWORK: &str = "etc/systemd/network/10-gleaner.network";

/// Names that sort before [`CARD_NETWORK`]: systemd.network(5) takes the first file that matches.
const NETDEV: &str = "etc/systemd/network/05-gleaner-bridge.netdev";
const BRIDGE: &str = "etc/systemd/network/05-gleaner-bridge.network";
const PORT: &str = "etc/systemd/network/05-gleaner-port.network";

/// What a node without a file of its own for the card gets: the same as the life in RAM would have written.
const BY_DHCP: &str = "[Network]\nDHCP=ipv4\n\n[DHCPv4]\nClientIdentifier=mac\n";

/// A bridge over a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    bridge: String,
    mac: String,
}

/// A name or address that cannot be written into a file of networkd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBridge {
    /// Not a name that the kernel or networkd would take.
    #[error(transparent)]
    Name(#[from] Unwritable),
    /// Not six hex bytes.
    #[error("{0:?} is not a hardware address")]
    Mac(String),
}

impl Plan {
    /// Checks what comes from the wire before it gets near a file.
    pub fn new(bridge: &str, mac: &str) -> Result<Self, BadBridge> {
        let bridge = words::bridge(bridge)?;
        let bytes: Vec<&str> = mac.split(':').collect();
        if bytes.len() != 6
            || !bytes
                .iter()
                .all(|b| b.len() == 2 && b.bytes().all(|c| c.is_ascii_hexdigit()))
        {
            return Err(BadBridge::Mac(mac.into()));
        }
        Ok(Self {
            bridge: bridge.into(),
            mac: mac.to_ascii_lowercase(),
        })
    }

    /// Name of the bridge.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Hardware address of the card, and of the bridge over it.
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// Path (relative to the root) and content of each file. `card_network` is what [`CARD_NETWORK`] holds now: how
    /// the card gets its address is how the bridge gets it from here on.
    pub fn files(&self, card_network: Option<&str>) -> [(&'static str, String); 3] {
        let Self { bridge, mac } = self;
        // The card's address on the bridge: the DHCP server sees the same client and gives the same lease.
        // No spanning tree: it would keep the port deaf for thirty seconds, longer than most of those who wait.
        let netdev =
            format!("[NetDev]\nName={bridge}\nKind=bridge\nMACAddress={mac}\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n");
        let settings = card_network.map_or_else(|| BY_DHCP.to_owned(), settings);
        let network = format!("[Match]\nName={bridge}\nType=bridge\n\n{settings}");
        // The permanent address, which the bridge does not have, keeps this from matching the bridge itself.
        let port = format!("[Match]\nPermanentMACAddress={mac}\n\n[Network]\nBridge={bridge}\n");
        [(NETDEV, netdev), (BRIDGE, network), (PORT, port)]
    }

    /// The paths alone.
    pub fn paths() -> [&'static str; 3] {
        [NETDEV, BRIDGE, PORT]
    }
}

/// The bridge that a `.netdev` file of [`Plan::files`] makes.
pub(super) fn bridge_of(netdev: &str) -> Option<&str> {
    let mut lines = netdev.lines();
    lines.find(|line| *line == "[NetDev]")?;
    lines.find_map(|line| line.strip_prefix("Name="))
}

/// All sections of a `.network` file but those that say which link it is for and what the link's hardware does.
fn settings(network: &str) -> String {
    let mut kept = String::new();
    let mut keep = false;
    for line in network.lines().map(str::trim) {
        if line.starts_with('[') {
            keep = !matches!(line, "[Match]" | "[Link]");
        }
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if kept.is_empty() { BY_DHCP.into() } else { kept }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    const CARD: &str = "# x\n[Match]\nPermanentMACAddress=52:54:00:77:00:01\n\n[Link]\nRequiredForOnline=no\n\n\
                        [Network]\nDHCP=yes\nLLDP=no\n\n[DHCPv4]\nClientIdentifier=mac\n";

    #[test]
    fn the_bridge_takes_over_the_cards_address_and_settings() {
        let files = Plan::new("br0", "52:54:00:77:00:01").unwrap().files(Some(CARD));
        let text: String = files
            .iter()
            .flat_map(|(path, text)| ["### ", path, "\n", text])
            .collect();
        expect![[r"
            ### etc/systemd/network/05-gleaner-bridge.netdev
            [NetDev]
            Name=br0
            Kind=bridge
            MACAddress=52:54:00:77:00:01

            [Bridge]
            STP=no
            ForwardDelaySec=0
            ### etc/systemd/network/05-gleaner-bridge.network
            [Match]
            Name=br0
            Type=bridge

            [Network]
            DHCP=yes
            LLDP=no

            [DHCPv4]
            ClientIdentifier=mac
            ### etc/systemd/network/05-gleaner-port.network
            [Match]
            PermanentMACAddress=52:54:00:77:00:01

            [Network]
            Bridge=br0
        "]]
        .assert_eq(&text);
    }

    #[test]
    fn our_files_are_read_before_the_cards() {
        assert!(Plan::paths().iter().all(|path| *path < CARD_NETWORK));
    }

    #[test]
    fn a_card_without_a_file_gets_its_address_by_dhcp() {
        let [_, (_, network), _] = Plan::new("br0", "52:54:00:77:00:01").unwrap().files(None);
        assert!(network.contains("DHCP=ipv4") && network.contains("ClientIdentifier=mac"));
    }

    #[test]
    fn names_that_could_add_a_line_or_a_path_are_refused() {
        for name in ["", "0br", "br0\n[Match]", "br 0", "../x", "a-name-too-long-", "bré"] {
            let refused = Plan::new(name, "52:54:00:77:00:01");
            assert!(matches!(refused, Err(BadBridge::Name(_))), "{name:?}");
        }
        for mac in ["", "52:54", "52:54:00:77:00:0g", "52:54:00:77:00:01\n", "525400770001"] {
            assert_eq!(Plan::new("br0", mac), Err(BadBridge::Mac(mac.into())));
        }
    }

    proptest! {
        #[test]
        fn no_order_breaks_out_of_its_line(bridge in "\\PC{0,20}", mac in "[0-9a-f:]{0,20}") {
            if let Ok(plan) = Plan::new(&bridge, &mac) {
                let [(_, netdev), (_, network), (_, port)] = plan.files(None);
                prop_assert_eq!((netdev.lines().count(), network.lines().count(), port.lines().count()), (8, 9, 5));
            }
        }

        #[test]
        fn any_file_for_the_card_keeps_its_match_to_itself(text in "(\\[(Match|Link|Network|DHCPv4)\\]\n|[A-Za-z=0-9#]{0,9}\n){0,12}") {
            prop_assert!(!settings(&text).contains("[Match]"));
        }
    }
}
