// SPDX-License-Identifier: Apache-2.0
//! What the controller wants a node to do next.

use serde::{Deserialize, Serialize};

use crate::{Disk, Seed};

/// The current order and its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Orders {
    /// Changes whenever the order does; sent back as `seen` so that the next question can wait for news.
    pub revision: u64,
    /// What to do.
    pub order: Order,
}

/// What a node is to do. An order is a wish for a state: carrying it out again is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Order {
    /// Nothing, for a reason that the machine's screen shows.
    Wait {
        /// The reason.
        why: String,
    },
    /// Examine the disk without writing to it: health, size, a read probe.
    Check {
        /// The disk that was chosen at approval.
        disk: DiskRef,
        /// Bytes that the disk must hold.
        need: u64,
    },
    /// Discard the disk where it can be discarded, and clear its partition tables and all labels.
    Wipe {
        /// The disk that was chosen at approval.
        disk: DiskRef,
        /// The one that its layout takes besides: a mirror's other half, or the data's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<DiskRef>,
    },
    /// Write the image, set the node up on it, and report [`crate::Event::Written`].
    Install(Box<Install>),
    /// Go down and come up again.
    Reboot {
        /// From where the machine should start.
        into: RebootInto,
        /// The reason, for the screen and the log.
        why: String,
    },
    /// Be a node (installed life).
    Serve(Serve),
}

/// From where a machine should start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RebootInto {
    /// From its disk.
    Disk,
    /// From the network.
    Network,
}

/// A disk named by what does not change from boot to boot. At least one field besides the size is there; all
/// that are there must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiskRef {
    /// World-wide name.
    pub wwn: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// `/dev/disk/by-path` name without the folder.
    pub by_path: Option<String>,
    /// Bytes.
    pub size: u64,
}

impl DiskRef {
    /// Whether this is the disk that is meant: it must name something, and all that it names must agree.
    pub fn names(&self, disk: &Disk) -> bool {
        let agrees = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        let serial = match (&self.serial, &disk.serial) {
            (Some(wanted), Some(has)) => same_serial(wanted, has),
            (wanted, _) => wanted.is_none(),
        };
        let names_something = self.wwn.is_some() || self.serial.is_some() || self.by_path.is_some();
        names_something
            && self.size == disk.size
            && serial
            && agrees(&self.wwn, &disk.wwn)
            && agrees(&self.by_path, &disk.by_path)
    }
}

/// A disk's serial number without what its readers write differently: of "AB CD  12" udev makes `AB_CD_12`, and
/// node-inits made `ABCD12`. Letters and digits are left, in lower case.
pub fn plain_serial(serial: &str) -> String {
    let telling = serial.chars().filter(char::is_ascii_alphanumeric);
    telling.map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether two readers mean one serial number. One without any letter or digit is no name, and only like itself.
pub fn same_serial(one: &str, other: &str) -> bool {
    let plain = plain_serial(one);
    one == other || (!plain.is_empty() && plain == plain_serial(other))
}

/// Everything that installing takes, but for the capsule, which is fetched on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Install {
    /// Where to.
    pub disk: DiskRef,
    /// What.
    pub image: ImageRef,
    /// Host name.
    pub name: String,
    /// Bytes of the root partition; the whole rest of the disk if absent.
    pub root_size: Option<u64>,
    /// `HOST:PORT` of the controller's API, for the installed node-init.
    pub controller: String,
    /// SHA-256 of the controller's `SubjectPublicKeyInfo`, hex.
    pub pin: String,
    /// Time servers, the controller first.
    pub ntp: Vec<String>,
    /// Where it asks for names; absent where the controller answers none.
    #[serde(default)]
    pub names: Option<Names>,
    /// Keys that may log in as root over SSH, one `authorized_keys` line each; nobody if empty.
    pub ssh_keys: Vec<String>,
    /// Kernel arguments to add, `console=…` for example.
    pub kernel_args: String,
    /// Time zone, `Europe/Vienna`.
    pub timezone: String,
    /// What the cloud-init of an image for cloud-init obeys; such an image needs one, no other image takes one. What the
    /// node is called, its keys and its time are then in there, and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
    /// The mark of this installation ([`crate::mark_file`]), by which a loader finds its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
}

/// Where an installed node asks for names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Names {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// The domain of the site's nodes, no dot at the end.
    pub domain: String,
}

/// Where an image is, and who may have signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageRef {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Base URL (plain HTTP, no slash at the end) of `manifest.json`, `manifest.json.minisig` and `chunks`
    /// (byte ranges). The signature and the hashes protect what comes from there, not the transport.
    pub url: String,
    /// minisign public keys (the base64 line) that the controller trusts.
    pub trusted_keys: Vec<String>,
}

/// How an installed node serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Serve {
    /// Seconds between heartbeats.
    pub heartbeat: u32,
    /// Bridge for guests; `None` leaves the network alone.
    pub bridge: Option<BridgeOrder>,
    /// Takes no new work.
    pub draining: bool,
    /// What it serves as; a controller from before there were roles names none.
    #[serde(default)]
    pub role: Option<NodeRole>,
}

/// What a node serves as: what must hold for it to be ready, beside what every node must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeRole {
    /// Its name.
    pub name: String,
    /// Whether it runs guests, under libvirt.
    pub guests: bool,
    /// Units that start by themselves and have not failed, by the names that its distribution gives them.
    pub units: Vec<String>,
    /// Commands that succeed.
    pub checks: Vec<RoleCheck>,
}

/// A command that succeeds when a node is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleCheck {
    /// What it is about.
    pub name: String,
    /// For `sh -c`, as root. The first line that it prints is shown to people.
    pub command: String,
    /// Seconds that it may take.
    pub within: u32,
}

/// The bridge for guests on the node's single card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BridgeOrder {
    /// Its name.
    pub name: String,
    /// Seconds in which the controller must be heard again, or the change is rolled back.
    pub confirm_within: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_the_same_however_its_blanks_were_written() {
        for other in ["AB CD  12", "AB_CD_12", "ABCD12", "ab_cd_12", "  AB CD 12 "] {
            assert!(same_serial("AB CD  12", other), "{other}");
        }
        assert!(!same_serial("AB CD  12", "AB CD 13"));
        assert!(
            same_serial("WD-WCC2E1/234", "WD-WCC2E1_234"),
            "udev replaces what is not safe in a name"
        );
        assert!(!same_serial("--", "__") && same_serial("--", "--"));
    }
}
