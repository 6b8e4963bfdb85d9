// SPDX-License-Identifier: Apache-2.0
//! The machine's own screen: large, who it is, what it waits for and how far it is; and a plain line log for those
//! who look at it from elsewhere.
//!
//! Anybody may change the [`View`]; a thread paints it when it has changed.

mod font;
mod layout;
mod paint;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub use layout::render;

/// What is to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The node's name, or what it is called before it has one.
    pub name: String,
    /// One or two words: what it is doing.
    pub stage: String,
    /// Share that is done, in thousandths, where that is known.
    pub permille: Option<u16>,
    /// Sentences: what it waits for, what went wrong, what to do.
    pub text: String,
    /// Whether a person has to do something.
    pub alarm: bool,
    /// Small print, a line each: address, card, controller, model.
    pub facts: Vec<String>,
}

/// The screen and the line log. Clones are the same screen.
#[derive(Clone)]
pub struct Screen(Arc<Shared>);

struct Shared {
    view: Mutex<View>,
    changed: Condvar,
    lines: Mutex<Vec<File>>,
}

impl Screen {
    /// Paints on `/dev/tty1`, where the machine has it, and logs to the serial lines named and to the kernel's log.
    pub fn open(root: &Path, serial: &[String]) -> Self {
        // Without a word from the boot script: the first port, where a technician would plug in.
        let first = ["ttyS0".to_owned()];
        let serial = if serial.is_empty() { &first[..] } else { serial };
        let mut lines: Vec<File> = serial
            .iter()
            .filter_map(|name| open_tty(&root.join("dev").join(name)))
            .collect();
        lines.extend(OpenOptions::new().write(true).open(root.join("dev/kmsg")));
        let shared = Shared {
            view: Mutex::default(),
            changed: Condvar::new(),
            lines: Mutex::new(lines),
        };
        let screen = Self(Arc::new(shared));
        if let Some(console) = open_tty(&root.join("dev/tty1")) {
            paint::start(screen.clone(), console);
        }
        screen
    }

    /// Changes what is to be seen.
    pub fn update(&self, change: impl FnOnce(&mut View)) {
        let mut view = lock(&self.0.view);
        let before = view.clone();
        change(&mut view);
        if *view != before {
            self.0.changed.notify_all();
        }
    }

    /// What is to be seen now.
    pub fn view(&self) -> View {
        lock(&self.0.view).clone()
    }

    /// A new stage with its sentences, nothing done of it yet; told to the log, too.
    pub fn stage(&self, stage: &str, text: &str) {
        self.set(stage, text, false);
    }

    /// The same, and a person has to do something.
    pub fn alarm(&self, stage: &str, text: &str) {
        self.set(stage, text, true);
    }

    /// Other sentences within the same stage; told to the log when they are new.
    pub fn say(&self, text: &str) {
        if lock(&self.0.view).text == text {
            return;
        }
        self.update(|view| text.clone_into(&mut view.text));
        self.log(text);
    }

    /// A line for the log alone.
    pub fn log(&self, line: &str) {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        for file in lock(&self.0.lines).iter_mut() {
            // One write a line: that is what /dev/kmsg wants. Nobody can be told that the log does not work.
            let _ = file.write_all(format!("node-init: {line}\r\n").as_bytes());
        }
    }

    fn set(&self, stage: &str, text: &str, alarm: bool) {
        let before = self.view();
        self.update(|view| {
            stage.clone_into(&mut view.stage);
            text.clone_into(&mut view.text);
            view.permille = None;
            view.alarm = alarm;
        });
        if (before.stage.as_str(), before.text.as_str()) != (stage, text) {
            self.log(&format!("{stage}: {text}"));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Never blocks: a serial line whose other end says "stop" must not stop the machine.
fn open_tty(path: &Path) -> Option<File> {
    let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
}
