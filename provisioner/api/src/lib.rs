// SPDX-License-Identifier: Apache-2.0
//! Every type that crosses a process boundary, and nothing else.
//!
//! The provisioner, node-init and the image builder never know each other; what they say to each other is
//! written here once. All of it is JSON on the wire, sizes are bytes, times are Unix milliseconds (UTC).
//! There is no behaviour here beyond what makes a value well-formed.

mod approval;
mod capsule;
mod doctor;
mod enrolment;
mod event;
mod image;
mod inventory;
pub mod limits;
mod mark;
mod medium;
mod node;
mod operator;
mod order;
mod packages;
mod problem;
mod ram;
mod report;
mod seed;
mod template;
pub mod text;
pub mod words;

pub use approval::{ApprovalPlan, Approve, PlannedDisk, PlannedSystem};
pub use capsule::{Capsule, CapsuleFile};
pub use doctor::{Finding, SeenCard, SeenStart, SeenStep};
pub use enrolment::{EnrolmentWindow, OpenWindow};
pub use event::{Event, FailCause, NodeEvent, Progress, Stage};
pub use image::{CHUNK_SIZE, Chunk, FIRST_MIB, Manifest, ManifestError, Partition, PartitionRole};
pub use inventory::{
    ContentsState, Cpu, Disk, DiskContents, DiskHealth, DiskPartition, FirmwareType, Inventory, Kvm, Nic, Rtc,
    SecureBoot, Smbios, SwitchPort, Transport, VirtExtension,
};
pub use mark::{is_mark, mark_file, mark_in_seed};
pub use medium::{MediumImport, MediumPrune, MediumSummary, Verified};
pub use node::{Heartbeat, Join, Life, Load, NodeConfig, Register, Registered, Time, Vouch};
pub use operator::{
    Confirm, EventEntry, ImageSummary, Import, ImportLine, NewToken, NodeDetail, NodeSummary, Reject, ServiceStatus,
    StatusReport, Token, TokenSummary,
};
pub use order::{
    BridgeOrder, DiskRef, ImageRef, Install, Names, NodeRole, Order, Orders, RebootInto, RoleCheck, Serve,
    plain_serial, same_serial,
};
pub use packages::{MissingPackage, PackageSource, PackagesReport};
pub use problem::{PROBLEM_JSON, Problem};
pub use ram::{RamFile, RamManifest, RamManifestError};
pub use report::{Check, ComputeReport, Hypervisor, NetworkReport, StoragePool};
pub use seed::{SEED_LABEL, SEED_LIMIT, SEED_SIZE, Seed, SeedError, SeedFile};
pub use template::{TemplateAnswer, TemplateEntry, TemplateList, TemplateTrial};

/// Version of the HTTP API; the first path element after `/api`.
pub const API_VERSION: &str = "v1";

/// Paths of the node API, relative to the controller's TLS address; node-init and the routes share them.
pub mod path {
    /// `GET`: [`crate::Time`]. The only path that needs no registration.
    pub const TIME: &str = "/api/v1/time";
    /// `POST` [`crate::Register`]: [`crate::Registered`].
    pub const REGISTER: &str = "/api/v1/node/register";
    /// `GET ?seen=REVISION&wait=SECONDS`: [`crate::Orders`]; returns at once when the revision differs.
    pub const ORDERS: &str = "/api/v1/node/orders";
    /// `POST` [`crate::NodeEvent`]: empty.
    pub const EVENTS: &str = "/api/v1/node/events";
    /// `POST` [`crate::Progress`]: empty. Lossy by design: only the newest counts.
    pub const PROGRESS: &str = "/api/v1/node/progress";
    /// `POST` [`crate::Heartbeat`]: empty.
    pub const HEARTBEAT: &str = "/api/v1/node/heartbeat";
    /// `POST` [`crate::Vouch`], with the key of the installed system: empty.
    pub const VOUCH: &str = "/api/v1/node/vouch";
    /// `GET`: [`crate::Capsule`] for a machine that is being installed, 404 when none is kept.
    /// `PUT` [`crate::Capsule`]: from the installed node.
    pub const CAPSULE: &str = "/api/v1/node/capsule";
}

/// Words on the kernel command line by which the boot script tells node-init where it is.
pub mod cmdline {
    /// `gleaner.controller=HOST:PORT`: the TLS address of the controller's API.
    pub const CONTROLLER: &str = "gleaner.controller";
    /// `gleaner.pin=HEX`: SHA-256 of the controller's `SubjectPublicKeyInfo` (DER), 64 hex digits.
    pub const PIN: &str = "gleaner.pin";
    /// `BOOTIF=01-52-54-00-77-00-01`: the card that booted, in PXELINUX's notation (hardware type, MAC).
    pub const BOOTIF: &str = "BOOTIF";
}
