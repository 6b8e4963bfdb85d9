// SPDX-License-Identifier: Apache-2.0
//! Every network card that has hardware behind it, from `/sys/class/net`.

use std::collections::BTreeMap;
use std::path::Path;

use provisioner_api::{Nic, SwitchPort};

use super::{disks, sysfs};

/// `ARPHRD_ETHER` in `linux/if_arp.h`.
const ETHERNET: u64 = 1;

/// Every card by kernel name. `permanent` is asked for the address burnt into a card; `booted` is the address of the
/// one that loaded us; `heard` is what LLDP said at each.
pub(crate) fn read(
    root: &Path,
    permanent: &dyn Fn(&str) -> Option<String>,
    booted: Option<&str>,
    heard: &BTreeMap<String, SwitchPort>,
) -> Vec<Nic> {
    let class = root.join("sys/class/net");
    let mut nics: Vec<Nic> = sysfs::names(&class)
        .into_iter()
        .filter(|name| class.join(name).join("device").exists())
        .filter(|name| sysfs::number(&class.join(name).join("type")) == Some(ETHERNET))
        .filter_map(|name| nic(&class.join(&name), name, permanent, heard))
        .collect();
    for nic in &mut nics {
        nic.booted = booted == Some(nic.mac.as_str());
    }
    nics
}

fn nic(
    folder: &Path,
    name: String,
    permanent: &dyn Fn(&str) -> Option<String>,
    heard: &BTreeMap<String, SwitchPort>,
) -> Option<Nic> {
    let way = sysfs::device_path(&folder.join("device"));
    let link = sysfs::flag(&folder.join("carrier"));
    Some(Nic {
        mac: permanent(&name)
            .or_else(|| sysfs::text(&folder.join("address")))?
            .to_lowercase(),
        driver: sysfs::link_name(&folder.join("device/driver")),
        link,
        // The kernel says -1 for "unknown", which is no number here.
        speed: sysfs::number(&folder.join("speed"))
            .filter(|_| link)
            .and_then(|s| u32::try_from(s).ok()),
        bus_path: disks::bus_path(&way),
        usb: way.iter().any(|p| sysfs::base(p).starts_with("usb")),
        booted: false,
        switch_port: heard.get(&name).cloned(),
        name,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn cards_have_drivers_places_and_links_and_bridges_are_no_cards() {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path().join("sys");
        let put = |path: &str, text: &str| {
            let path = sys.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let card = "devices/pci0000:00/0000:00:19.0";
        for (file, text) in [
            ("carrier", "1"),
            ("type", "1"),
            ("speed", "1000"),
            ("address", "52:54:00:AA:bb:cc"),
        ] {
            put(&format!("{card}/net/eth0/{file}"), text);
        }
        fs::create_dir_all(sys.join("bus/pci/drivers/e1000e")).unwrap();
        symlink("../../../bus/pci/drivers/e1000e", sys.join(card).join("driver")).unwrap();
        symlink("../..", sys.join(card).join("net/eth0/device")).unwrap();
        put("devices/virtual/net/br0/type", "1");
        fs::create_dir_all(sys.join("class/net")).unwrap();
        symlink(format!("../../{card}/net/eth0"), sys.join("class/net/eth0")).unwrap();
        symlink("../../devices/virtual/net/br0", sys.join("class/net/br0")).unwrap();

        let nics = read(root.path(), &|_| None, Some("52:54:00:aa:bb:cc"), &BTreeMap::new());
        assert_eq!(nics.len(), 1);
        assert_eq!(
            nics[0],
            Nic {
                name: "eth0".into(),
                mac: "52:54:00:aa:bb:cc".into(),
                driver: Some("e1000e".into()),
                link: true,
                speed: Some(1000),
                bus_path: Some("0000:00:19.0".into()),
                usb: false,
                booted: true,
                switch_port: None,
            }
        );
    }
}
