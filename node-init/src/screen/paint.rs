// SPDX-License-Identifier: Apache-2.0
//! Puts the lines onto the console.
#![allow(unsafe_code)] // two terminal ioctls that no safe crate wraps

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::libc;

use super::layout::render;
use super::{Screen, lock};

/// Painted at most this often: a progress bar that moves five times a second moves.
const FRAME: Duration = Duration::from_millis(200);

/// Painted at least this often: a graphics driver that was loaded meanwhile has cleared the console.
const REFRESH: Duration = Duration::from_secs(3);

/// linux/tiocl.h: subcode of `TIOCLINUX` that sends kernel messages to another virtual console.
const TIOCL_SETKMSGREDIRECT: u8 = 11;
/// A virtual console that nobody looks at; Alt-F9 shows it.
const KERNEL_CONSOLE: u8 = 9;

/// No cursor, no blanking, UTF-8.
const PREPARE: &str = "\x1b%G\x1b[?25l\x1b[9;0]\x1b[14;0]\x1b[2J";
/// Bright white on black, and on red where a person has to do something.
const PLAIN: &str = "\x1b[0;1;37;40m";
const ALARM: &str = "\x1b[0;1;37;41m";

/// Paints until the process ends.
pub(super) fn start(screen: Screen, mut console: File) {
    redirect_kernel(&console);
    thread::spawn(move || {
        let _ = console.write_all(PREPARE.as_bytes());
        loop {
            let view = screen.view();
            let (columns, rows) = size(&console);
            let _ = console.write_all(frame(&render(&view, columns, rows), view.alarm).as_bytes());
            thread::sleep(FRAME);
            let current = lock(&screen.0.view);
            if *current == view {
                // Whether it was woken or has waited long enough makes no difference.
                drop(screen.0.changed.wait_timeout(current, REFRESH));
            }
        }
    });
}

fn frame(lines: &[String], alarm: bool) -> String {
    let colour = if alarm { ALARM } else { PLAIN };
    // Each line ends by clearing what an earlier frame left of it; no newline after the last one, or all would scroll.
    format!("{colour}\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

/// Columns and rows; zeros where the console does not tell.
fn size(console: &File) -> (usize, usize) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel writes one winsize, which lives across the call.
    unsafe { libc::ioctl(console.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (size.ws_col.into(), size.ws_row.into())
}

/// Kernel messages in the middle of large letters help nobody; they stay in the log and on another console.
fn redirect_kernel(console: &File) {
    let request = [TIOCL_SETKMSGREDIRECT, KERNEL_CONSOLE];
    // SAFETY: the kernel reads two bytes, which live across the call. Where it refuses, messages stay where they are.
    unsafe { libc::ioctl(console.as_raw_fd(), libc::TIOCLINUX, request.as_ptr()) };
}
