// SPDX-License-Identifier: Apache-2.0
//! The boot script: carries the answer of [`crate::boot::decide`] to iPXE, however often it asks. Never steps state.

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use provisioner_api::RamManifest;
use pxe::Mac;
use pxe::bootfile::{self, Server};
use pxe::ipxe::{Ask, Discover, Install, LocalDisk, Stop, Text, Unfit, Word};
use serde::Deserialize;

use super::extract::Query;
use super::listener::Peer;
use super::problem::{Fault, Kind};
use super::{Web, blocking, now};
use crate::app::{App, Choice, Start, Who};
use crate::boot::{self, ASK_AGAIN, Boot, NOT_FOUND, SOON, TO_DISK, TOO_OLD, WHY_LINES};

/// What a boot script says of a processor that has no 64-bit mode.
const PROCESSOR_OF_32_BITS: &str = "32-bit";

/// What iPXE says of itself. It adds more (`platform`, `arch`), which nothing here depends on.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Hardware address of the card, `52-54-00-77-00-01`.
    mac: Option<String>,
    /// SMBIOS UUID, where there is one.
    uuid: Option<String>,
    /// What was chosen in the menu of an unknown machine: `disk` or `enrol`.
    choice: Option<String>,
    /// `32-bit` where the loader found that the processor is one.
    processor: Option<String>,
    /// `no` where the loader has looked for the node's own system on all disks in vain.
    found: Option<String>,
}

/// What a machine boots.
#[utoipa::path(get, path = "/boot/ipxe", tag = "boot", params(Asked),
    responses((status = 200, description = "An iPXE script", body = String, content_type = "text/plain")))]
pub(super) async fn script(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let local = peer
        .local
        .ok_or_else(|| Fault::new(Kind::BadRequest, "boot scripts are given out over TCP only"))?;
    let address = peer
        .local_ipv4()
        .ok_or_else(|| Fault::new(Kind::BadRequest, "boot scripts are given out over IPv4 only"))?;
    // A card that iPXE cannot name is still a machine that wants to boot: it is an unknown one.
    let mac = asked
        .mac
        .as_deref()
        .and_then(|text| text.parse::<Mac>().ok())
        .filter(|mac| mac.is_card());
    let uuid = asked.uuid.filter(|uuid| is_uuid(uuid));
    let choice = asked.choice.as_deref().and_then(Choice::from_word);
    let processor_of_32_bits = asked.processor.as_deref() == Some(PROCESSOR_OF_32_BITS);
    let not_found = asked.found.as_deref() == Some("no");
    let (from, api_port) = (peer.ipv4(), web.api_port);
    let server = Server {
        address,
        http_port: local.port(),
    };
    // Letting a machine in waits for the disk, and so does what an installer is given.
    let script = move |app: &App| {
        let who = Who {
            mac,
            uuid: uuid.as_deref(),
            from,
            choice,
            processor_of_32_bits,
            not_found,
        };
        Ok(made(app, &who, server, api_port))
    };
    blocking(&web.app, script).await.map(as_script)
}

/// The script of who asks at this address of ours.
fn made(app: &App, who: &Who<'_>, server: Server, api_port: u16) -> String {
    let boot = app.boot(who, now());
    let machine = app.screen_name(who.mac.map(|mac| mac.to_string()).as_deref(), who.uuid);
    let place = Place {
        server,
        machine: Text::new(&machine),
        mac: who.mac,
        uuid: who.uuid,
        api_port,
    };
    let (decision, script) =
        render(app, &boot, who, &place).unwrap_or_else(|unfit| ("stop", place.stop(&boot::unfit(&unfit))));
    metrics::counter!("gleaner_boot_scripts_total", "decision" => decision).increment(1);
    tracing::info!(machine, decision, "boot script");
    script
}

/// A script as it is sent: as of now, and in the letters that loaders show.
pub(super) fn as_script(text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=us-ascii"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}

/// Where the script is read, and by whom.
struct Place<'a> {
    server: Server,
    machine: Text,
    mac: Option<Mac>,
    uuid: Option<&'a str>,
    api_port: u16,
}

impl Place<'_> {
    /// The URL of this very script.
    fn script(&self) -> String {
        let mac = self.mac.map(|mac| format!("mac={}", mac.dashed()));
        let uuid = self.uuid.map(|uuid| format!("uuid={uuid}"));
        let query: Vec<String> = mac.into_iter().chain(uuid).collect();
        format!(
            "{}{}?{}",
            self.server.base_url(),
            bootfile::SCRIPT_PATH,
            query.join("&")
        )
    }

    fn install(&self, start: &Start) -> Result<String, Unfit> {
        let url = |path: &str| Word::new(format!("{}{path}", self.server.base_url()));
        let script = Install {
            server: self.server.address,
            machine: self.machine.clone(),
            system: Text::new(start.system),
            kernel: url(&start.kernel)?,
            initrd: url(&start.initrd)?,
            arguments: start.arguments.clone(),
            script: Word::new(self.script())?,
        };
        Ok(script.render())
    }

    fn stop(&self, why: &str) -> String {
        self.wait(why, ASK_AGAIN)
    }

    /// Says why, and asks again after so many seconds.
    fn wait(&self, why: &str, wait: u32) -> String {
        // Addresses, hex digits and dashes: always a word. The root of the server is one in any case.
        let script = Word::new(self.script()).or_else(|_| Word::new(self.server.base_url()));
        script.map_or_else(
            |_| "#!ipxe\nexit 1\n".to_owned(),
            |script| {
                Stop {
                    server: self.server.address,
                    machine: self.machine.clone(),
                    why: Text::folded(why, WHY_LINES),
                    wait,
                    script,
                }
                .render()
            },
        )
    }
}

fn render(app: &App, boot: &Boot, who: &Who<'_>, place: &Place<'_>) -> Result<(&'static str, String), Unfit> {
    let script = match boot {
        Boot::LocalDisk => {
            let home = app.home(who, now());
            let (bios, uefi) = app.ways(place.mac, &home);
            let script = LocalDisk {
                server: place.server.address,
                machine: place.machine.clone(),
                home,
                bios_grub: Word::new(place.server.loader_url(bootfile::LOCAL_GRUB_BIOS))?,
                uefi_grub: Word::new(place.server.loader_url(bootfile::LOCAL_GRUB))?,
                bios,
                uefi,
                script: Word::new(place.script())?,
            };
            script.render()
        }
        Boot::AskAgain { why } => place.wait(why, SOON),
        Boot::Stop { why } => place.stop(why),
        Boot::TooOld => place.stop(TOO_OLD),
        Boot::NotFound => place.stop(NOT_FOUND),
        Boot::Ask => {
            let script = place.script();
            let ask = Ask {
                server: place.server.address,
                machine: place.machine.clone(),
                wait: TO_DISK,
                disk: Word::new(format!("{script}&choice=disk"))?,
                join: Word::new(format!("{script}&choice=enrol"))?,
            };
            ask.render()
        }
        Boot::Discover => match app.images.ram() {
            Ok(ram) => {
                let base = format!("{}/ram/{}", place.server.base_url(), ram.manifest.version);
                let script = Discover {
                    server: place.server.address,
                    machine: place.machine.clone(),
                    kernel: Word::new(format!("{base}/{}", RamManifest::KERNEL))?,
                    initrd: Word::new(format!("{base}/{}", RamManifest::INITRD))?,
                    mac: place.mac,
                    arguments: app.ram_arguments(place.server.address, place.api_port)?,
                    script: Word::new(place.script())?,
                };
                script.render()
            }
            // It was there when the decision was made: it is being replaced.
            Err(why) => return Ok(("stop", place.stop(&why))),
        },
        Boot::Install => match app.start_installer(who, place.server, now()) {
            Ok(start) => place.install(&start)?,
            Err(why) => return Ok(("stop", place.stop(&why))),
        },
    };
    Ok((boot.word(), script))
}

/// 8-4-4-4-12 hex digits: nothing else is looked up or put into a script.
fn is_uuid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    text.split('-').count() == groups.len()
        && text
            .split('-')
            .zip(groups)
            .all(|(group, digits)| group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_uuids_are_uuids() {
        assert!(is_uuid("03000200-0400-0500-0006-000700080009"));
        for text in [
            "",
            "-",
            "----",
            "03000200-0400-0500-0006-00070008000g",
            "03000200-0400-0500-0006-000700080009-",
        ] {
            assert!(!is_uuid(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_for_a_uuid_can_stand_in_a_script(text in any::<String>()) {
            if is_uuid(&text) {
                let word = Word::new(format!("http://192.0.2.1/?uuid={text}"));
                prop_assert!(word.is_ok());
            }
        }
    }
}
