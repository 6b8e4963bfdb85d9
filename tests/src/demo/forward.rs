// SPDX-License-Identifier: Apache-2.0
//! A way from the host into a laboratory, for a browser.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};

use crate::space::Door;

/// Tried first, because people know it.
const PORT: u16 = 8080;

/// Passes every connection to a port of the host's loopback on to `to` behind the door, while the process lives.
/// Returns where to connect.
pub fn forward(door: Door, to: SocketAddr) -> Result<SocketAddr> {
    let here = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = here(PORT).or_else(|_| here(0)).context("listening for a browser")?;
    let address = listener.local_addr().context("asking for the port")?;
    std::thread::spawn(move || {
        for browser in listener.incoming().flatten() {
            // A provisioner that does not answer is a browser's error message, not ours.
            if let Ok(server) = door.connect(to) {
                pass(&browser, &server);
                pass(&server, &browser);
            }
        }
    });
    Ok(address)
}

/// Copies one direction on a thread of its own until it ends.
fn pass(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
