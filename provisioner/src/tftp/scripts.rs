// SPDX-License-Identifier: Apache-2.0
//! Boot scripts for GRUB, made on a thread of their own: letting a machine in waits for the disk, and transfers must not.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context as _, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use pxe::grub::Asked;
use pxe::tftp::ReadRequest;

use crate::network::datagram::Received;
use crate::network::{Content, Files};

/// Questions that wait for the disk. A machine whose question finds no room asks again.
const WAITING: usize = 256;

/// A script and who asked for it.
pub(super) struct Script {
    /// The question.
    pub(super) request: ReadRequest,
    /// Where it came from.
    pub(super) from: Received,
    /// The answer, if there is one.
    pub(super) content: Option<Content>,
}

/// The thread. It ends with this.
pub(super) struct Scripts {
    questions: SyncSender<(ReadRequest, Received)>,
    made: Receiver<Script>,
    bell: Arc<EventFd>,
}

impl Scripts {
    /// Starts the thread.
    pub(super) fn start(files: Arc<dyn Files>) -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = Arc::new(EventFd::from_flags(flags).context("making the bell of the boot scripts")?);
        let (questions, asked) = sync_channel::<(ReadRequest, Received)>(WAITING);
        let (tell, made) = sync_channel(WAITING);
        let ring = Arc::clone(&bell);
        let work = move || {
            for (request, from) in asked {
                let content = script(&*files, &request, &from);
                if tell.send(Script { request, from, content }).is_err() {
                    return;
                }
                // The counter behind it is full only if nobody has looked for an eternity.
                let _ = ring.write(1);
            }
        };
        std::thread::Builder::new()
            .name("tftp-scripts".into())
            .spawn(work)
            .context("starting the thread of the boot scripts")?;
        Ok(Self { questions, made, bell })
    }

    /// Whether a request is for a script.
    pub(super) fn is_one(request: &ReadRequest) -> bool {
        request.path().is_some_and(|path| Asked::parse(path).is_some())
    }

    /// Asks for a script.
    pub(super) fn ask(&self, request: ReadRequest, from: Received) {
        // GRUB asks again where there was no room.
        let _ = self.questions.try_send((request, from));
    }

    /// What can be waited for.
    pub(super) fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// The next script that was made since the bell rang.
    pub(super) fn next(&self) -> Option<Script> {
        let _ = self.bell.read();
        self.made.try_recv().ok()
    }
}

fn script(files: &dyn Files, request: &ReadRequest, from: &Received) -> Option<Content> {
    let asked = Asked::parse(request.path()?)?;
    let text = files.script(&asked, *from.peer.ip(), from.local)?;
    Some(text.into_bytes().into())
}
