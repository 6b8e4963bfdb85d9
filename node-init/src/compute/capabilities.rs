// SPDX-License-Identifier: Apache-2.0
//! The few facts that a node reports out of libvirt's XML. Text in, values out.
//!
//! libvirt writes this XML itself, one element a line; what is needed are two attributes and one text, for which an
//! XML library would be the larger risk.

/// What domain capabilities (`virsh domcapabilities`) say of a kind of guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// `kvm` or `qemu`, as libvirt calls the kind that it described.
    pub kind: String,
    /// The CPU model that `host-model` stands for.
    pub host_model: Option<String>,
}

/// Reads domain capabilities.
pub fn domain(xml: &str) -> Domain {
    Domain {
        kind: text_of(xml, "domain").unwrap_or_default(),
        host_model: host_model(xml),
    }
}

/// Whether libvirt offers guests of `kind` (`kvm`, `qemu`) for x86-64 (`virsh capabilities`).
pub fn offers(capabilities: &str, kind: &str) -> bool {
    capabilities
        .split("<guest>")
        .skip(1)
        .filter(|guest| guest.contains("<arch name='x86_64'>"))
        .any(|guest| guest.contains(&format!("<domain type='{kind}'")))
}

/// libvirt counts versions as `major * 1,000,000 + minor * 1,000 + release`.
pub fn version(number: u64) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000)
}

fn host_model(xml: &str) -> Option<String> {
    let (_, mode) = xml.split_once("<mode name='host-model' supported='yes'>")?;
    let (mode, _) = mode.split_once("</mode>")?;
    text_of(mode, "model")
}

/// The text of the first element of this name, attributes or not.
fn text_of(xml: &str, element: &str) -> Option<String> {
    let open = format!("<{element}");
    for (at, _) in xml.match_indices(&open) {
        let rest = &xml[at + open.len()..];
        if !rest.starts_with(['>', ' ']) {
            continue;
        }
        let (_, rest) = rest.split_once('>')?;
        let (text, _) = rest.split_once('<')?;
        return Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOMAIN: &str = include_str!("testdata/domcapabilities-qemu.xml");
    const HOST: &str = include_str!("testdata/capabilities.xml");

    #[test]
    fn an_emulating_host_says_which_cpu_its_guests_get() {
        let domain = domain(DOMAIN);
        assert_eq!(domain.kind, "qemu");
        assert_eq!(domain.host_model.as_deref(), Some("EPYC"));
    }

    #[test]
    fn a_host_without_kvm_offers_software_virtualization_alone() {
        assert!(offers(HOST, "qemu"));
        assert!(!offers(HOST, "kvm"));
        let with_kvm = HOST.replacen(
            "<domain type='qemu'/>",
            "<domain type='qemu'/>\n<domain type='kvm'/>",
            9,
        );
        assert!(offers(&with_kvm, "kvm"));
    }

    #[test]
    fn versions_read_as_people_write_them() {
        assert_eq!(version(11_003_000), "11.3.0");
        assert_eq!(version(10_000_007), "10.0.7");
    }

    proptest! {
        #[test]
        fn no_xml_is_too_broken_to_read(xml in "(<mode name='host-model' supported='yes'>|<model|<domain|>|<|</mode>|\\PC){0,20}") {
            domain(&xml);
            offers(&xml, "kvm");
        }
    }
}
