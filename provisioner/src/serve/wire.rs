// SPDX-License-Identifier: Apache-2.0
//! What the edges hear from the core and tell it. They are bound before the core can be opened (they need the
//! privileges, it must not have them), so the two are connected afterwards, before the first packet.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use provisioner_api::ServiceStatus;
use pxe::dhcp::Heard;
use pxe::{Mac, grub};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::now;
use crate::app::App;
use crate::dns::{Host, Hosts};
use crate::network::{
    Advice, Asked, Content, Ended, Fetch, FetchProgress, Files, Notice, SegmentNow, Sighting, Sightings,
};

/// Notices that wait for the disk. More than these at once are a flood, and the log has them all.
const NOTICES: usize = 64;

/// The connection; until it is made nothing is known and nothing is offered.
#[derive(Default)]
pub(super) struct Wire(OnceLock<Ends>);

struct Ends {
    app: Arc<App>,
    notices: mpsc::Sender<Notice>,
}

impl Wire {
    /// Connects the edges with the core; what they notice comes out of the other end.
    pub(super) fn connect(&self, app: &Arc<App>) -> mpsc::Receiver<Notice> {
        let (notices, receiver) = mpsc::channel(NOTICES);
        // Called once: a second connection would find the first one in place and be dropped.
        let _ = self.0.set(Ends {
            app: Arc::clone(app),
            notices,
        });
        receiver
    }
}

impl Files for Wire {
    fn get(&self, name: &str) -> Option<Content> {
        let app = &self.0.get()?.app;
        if let Some(loader) = app.images.loader(name) {
            return Some(Content::Memory(loader));
        }
        let (file, size) = app.images.boot_file(name).or_else(|| app.media.boot_file(name))?;
        Some(Content::Disk {
            file: Arc::new(file),
            size,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.0.get().is_some_and(|ends| ends.app.images.has_loader(name))
    }

    fn script(&self, asked: &grub::Asked<'_>, from: Ipv4Addr, at: Ipv4Addr) -> Option<String> {
        Some(crate::grub::script(&self.0.get()?.app, asked, (from, at), now()))
    }
}

impl Hosts for Wire {
    fn hosts(&self) -> Vec<Host> {
        self.0.get().map_or_else(Vec::new, |ends| ends.app.hosts(now()))
    }
}

impl Sightings for Wire {
    fn is_known(&self, mac: Mac) -> bool {
        self.0.get().is_some_and(|ends| ends.app.knows_card(&mac.to_string()))
    }

    fn asked(&self, asked: &Asked<'_>) -> Advice {
        self.0
            .get()
            .map_or_else(Advice::default, |ends| ends.app.asked(asked, now()))
    }

    fn overheard(&self, heard: &Heard) {
        if let Some(ends) = self.0.get() {
            ends.app.overheard(heard, now());
        }
    }

    fn segment(&self, segment: SegmentNow) {
        if let Some(ends) = self.0.get() {
            ends.app.segment(segment);
        }
    }

    fn segment_gone(&self, interface: &Arc<str>) {
        if let Some(ends) = self.0.get() {
            ends.app.segment_gone(interface);
        }
    }

    fn seen(&self, sighting: Sighting) {
        let Some(ends) = self.0.get() else { return };
        let mac = sighting.client.mac.to_string();
        info!(mac, interface = &*sighting.interface, address = ?sighting.address, told = sighting.told, "seen");
        ends.app.answered(&sighting, now());
    }

    fn fetching(&self, progress: &FetchProgress<'_>) {
        let FetchProgress {
            peer,
            file,
            arrived,
            size,
        } = progress;
        debug!(%peer, file, arrived, size, "fetching");
        if *arrived == 0
            && let Some(ends) = self.0.get()
        {
            ends.app.fetches_by_tftp(*peer, file, now());
        }
    }

    fn fetched(&self, fetch: Fetch) {
        if let Some(ends) = self.0.get() {
            ends.app.fetched_by_tftp(&fetch, now());
        }
        match fetch.failure {
            None => info!(peer = %fetch.peer, file = fetch.file, bytes = fetch.bytes, "fetched"),
            // Loaders ask for files that they can do without; a machine that got nothing else is the doctor's.
            // What is refused is as cheap to send as a packet: the journal and a counter have it.
            Some(_) if matches!(fetch.ended, Ended::Absent | Ended::Refused) => {}
            // UEFI asks for the size and breaks off: normal, and not a warning.
            Some(why) => info!(peer = %fetch.peer, file = fetch.file, bytes = fetch.bytes, why, "not fetched"),
        }
    }

    fn service(&self, name: &'static str, detail: String, ok: bool) {
        let Some(ends) = self.0.get() else { return };
        ends.app.report(ServiceStatus {
            name: name.into(),
            detail,
            ok,
        });
    }

    fn notice(&self, notice: Notice) {
        warn!(kind = notice.kind, detail = notice.detail, "noticed");
        if let Some(ends) = self.0.get()
            && ends.notices.try_send(notice).is_err()
        {
            warn!("a notice is in the log only: too many at once");
        }
    }
}
