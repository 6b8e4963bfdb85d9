// SPDX-License-Identifier: Apache-2.0
//! The boot script for GRUB: carries the answer of [`crate::boot::decide`], however often it is asked and whether by
//! TFTP or by HTTP. Never steps state.

use std::net::Ipv4Addr;

use provisioner_api::RamManifest;
use pxe::Mac;
use pxe::bootfile::Server;
use pxe::grub::{Ask, Asked, Discover, Install, LocalDisk, Stop};
use pxe::ipxe::{Text, Unfit, Way, Word};

use crate::app::{App, Choice, Start, Who};
use crate::boot::{self, ASK_AGAIN, Boot, NOT_FOUND, SOON, TO_DISK, TOO_OLD, WHY_LINES};

/// The script of who asks, from one address at another, which is ours. Takes note of the question, and waits for the
/// disk where it lets a machine in.
pub fn script(app: &App, asked: &Asked<'_>, (from, at): (Ipv4Addr, Ipv4Addr), now: i64) -> String {
    let (mac, uuid, from) = (asked.mac, asked.uuid, Some(from));
    let choice = asked.choice.and_then(Choice::from_word);
    let who = Who {
        mac,
        uuid,
        from,
        choice,
        not_found: asked.not_found,
        ..Who::default()
    };
    let boot = app.boot(&who, now);
    let machine = app.screen_name(mac.map(|mac| mac.to_string()).as_deref(), uuid);
    let place = Place {
        machine: Text::new(&machine),
        mac,
        at,
    };
    let (decision, script) = place
        .render(app, &boot, &who, now)
        .unwrap_or_else(|unfit| ("stop", place.stop(&boot::unfit(&unfit))));
    metrics::counter!("gleaner_boot_scripts_total", "decision" => decision).increment(1);
    let secure_boot = asked.secure_boot;
    tracing::info!(machine, decision, secure_boot, "boot script for GRUB");
    script
}

/// Who reads the script, and at which address of ours.
struct Place {
    machine: Text,
    mac: Option<Mac>,
    at: Ipv4Addr,
}

impl Place {
    fn render(&self, app: &App, boot: &Boot, who: &Who<'_>, now: i64) -> Result<(&'static str, String), Unfit> {
        let script = match boot {
            Boot::LocalDisk => {
                let home = app.home(who, now);
                let (_, ways) = app.ways(self.mac, &home);
                let script = LocalDisk {
                    machine: self.machine.clone(),
                    home,
                    exit: ways.first() == Some(&Way::Exit),
                };
                script.render()
            }
            Boot::AskAgain { why } => self.wait(why, SOON),
            Boot::Stop { why } => self.stop(why),
            Boot::TooOld => self.stop(TOO_OLD),
            Boot::NotFound => self.stop(NOT_FOUND),
            Boot::Ask => {
                let script = Ask {
                    server: self.at,
                    machine: self.machine.clone(),
                    wait: TO_DISK,
                };
                script.render()
            }
            Boot::Discover => match app.images.ram() {
                Ok(ram) => self.discover(app, &ram.manifest.version)?,
                // It was there when the decision was made: it is being replaced.
                Err(why) => return Ok(("stop", self.stop(&why))),
            },
            Boot::Install => match app.start_installer(who, self.server(app), now) {
                Ok(start) => self.install(&start)?,
                Err(why) => return Ok(("stop", self.stop(&why))),
            },
        };
        Ok((boot.word(), script))
    }

    fn discover(&self, app: &App, version: &str) -> Result<String, Unfit> {
        let script = Discover {
            server: self.at,
            machine: self.machine.clone(),
            kernel: Word::new(format!("/ram/{version}/{}", RamManifest::KERNEL))?,
            initrd: Word::new(format!("/ram/{version}/{}", RamManifest::INITRD))?,
            arguments: app.ram_arguments(self.at, app.config.ports.api)?,
        };
        Ok(script.render())
    }

    fn install(&self, start: &Start) -> Result<String, Unfit> {
        let script = Install {
            server: self.at,
            machine: self.machine.clone(),
            system: Text::new(start.system),
            kernel: Word::new(start.kernel.as_str())?,
            initrd: Word::new(start.initrd.as_str())?,
            arguments: start.arguments.clone(),
        };
        Ok(script.render())
    }

    /// What the installer finds by URL, whichever way GRUB came.
    fn server(&self, app: &App) -> Server {
        Server {
            address: self.at,
            http_port: app.config.ports.http,
        }
    }

    fn stop(&self, why: &str) -> String {
        self.wait(why, ASK_AGAIN)
    }

    /// Says why, and asks again after so many seconds.
    fn wait(&self, why: &str, wait: u32) -> String {
        let script = Stop {
            server: self.at,
            machine: self.machine.clone(),
            why: Text::folded(why, WHY_LINES),
            wait,
        };
        script.render()
    }
}
