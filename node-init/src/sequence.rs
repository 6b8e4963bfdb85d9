// SPDX-License-Identifier: Apache-2.0
//! The life in RAM, from the kernel's first process to the reboot into what was installed.
//!
//! Process 1 does nothing but start a second one, collect the dead, and bring the machine back when that second one
//! ends, which it never should: the controller remembers everything, so starting over is always safe.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};

use crate::host::{Host, RealHost};
use crate::key::NodeKey;
use crate::screen::Screen;
use crate::steps::{boot_id, check, clock, consoles, modules, mounts, network, orders, register};

/// The argument by which process 1 starts the second one.
pub const WORKER: &str = "ram";

/// How long the last words stay on the screen before the machine starts over: time to read them, or to take a
/// picture, and not so long that a room full of machines waits for a person.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Where the second process leaves what went wrong.
const LAST_WORDS_FILE: &str = "/run/last-words";

/// How long a warning stays before the next step writes over it.
const GLIMPSE: Duration = Duration::from_secs(5);

/// Where programs lie in the initramfs; the kernel tells process 1 nothing of the kind.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The phases, in order. Each gets what the ones before have found out.
fn live(screen: &Screen) -> anyhow::Result<()> {
    let root = Path::new("/");
    let host = RealHost;
    let line = consoles::command_line(root);
    // Before anything large: a machine that runs out of memory later would stand there without a word. It goes on,
    // so that the controller hears of it, too.
    if let Err(cause) = check::memory(host.memory()) {
        screen.alarm("Low memory", &cause.to_string());
        host.sleep(GLIMPSE);
    }
    modules::load_all(root, screen);
    let watch = modules::watch(root, screen);
    let rtc_at_start = clock::read_rtc(root);
    let key = NodeKey::generate()?;
    let mut joined = network::join(root, &line, &key, &watch, screen)?;
    let rtc = clock::set(&host, &joined.client, rtc_at_start, screen);
    let facts = register::Facts {
        root,
        booted: joined.mac.clone(),
        firmware_mac: line.booted.clone(),
        rtc,
        watch,
        boot_id: boot_id(root),
        host: &host,
        key: key.fingerprint(),
    };
    let name = register::introduce(&facts, &joined.client, screen);
    orders::obey(&host, &facts, &mut joined, &key, name, screen)
}

/// Process 1.
pub fn supervise() -> ! {
    mounts::mount_all();
    let ended = match Command::new("/proc/self/exe").arg(WORKER).env("PATH", PATH).spawn() {
        Ok(child) => ending(await_child(i32::try_from(child.id()).unwrap_or(-1))),
        Err(error) => format!("node-init could not be started ({error})"),
    };
    let root = Path::new("/");
    let screen = Screen::open(root, &consoles::command_line(root).serial);
    stop(&screen, &fs::read_to_string(LAST_WORDS_FILE).unwrap_or(ended))
}

/// The second process: lives until the machine reboots.
pub fn work() -> ! {
    let root = Path::new("/");
    let screen = Screen::open(root, &consoles::command_line(root).serial);
    screen.update(|view| "New PC".clone_into(&mut view.name));
    // A panic is a bug. Its words go to where process 1 finds them, because this process ends with it.
    std::panic::set_hook(Box::new(|panic| {
        let _ = fs::write(LAST_WORDS_FILE, format!("a fault in node-init: {panic}"));
    }));
    let why = live(&screen).map_or_else(|error| format!("{error:#}"), |()| "nothing was left to do".into());
    stop(&screen, &why)
}

/// Collects every process that ends, orphans included, until this one does.
fn await_child(child: i32) -> Option<WaitStatus> {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid().is_some_and(|pid| pid.as_raw() == child) => return Some(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn ending(status: Option<WaitStatus>) -> String {
    match status {
        Some(WaitStatus::Exited(_, code)) => format!("node-init ended with status {code}"),
        Some(WaitStatus::Signaled(_, signal, _)) => format!("node-init was ended by {signal}"),
        _ => "node-init is gone".into(),
    }
}

/// Says why, long enough to be read, and starts the machine over.
fn stop(screen: &Screen, why: &str) -> ! {
    screen.alarm(
        "Stopped",
        &format!("{why}. The machine starts over in {} seconds.", LAST_WORDS.as_secs()),
    );
    let host = RealHost;
    loop {
        host.sleep(LAST_WORDS);
        // Returns only where this process may not reboot: a person started it by hand.
        host.reboot();
    }
}
