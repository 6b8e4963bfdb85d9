// SPDX-License-Identifier: Apache-2.0
//! Which program has a port: read from /proc, for the message at a start that fails.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The program that has bound a port, with its process id; `None` where it cannot be told.
pub(crate) fn holder(protocol: &str, port: u16) -> Option<String> {
    holder_of(protocol, port, |_| true)
}

/// The program that has bound a port at this address, or at all.
pub(crate) fn holder_at(protocol: &str, at: SocketAddrV4) -> Option<String> {
    // proc(5): as the machine has them in memory.
    let form = |address: Ipv4Addr| format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let here = form(*at.ip());
    // A socket of IPv6 has all of IPv4 as well, or nothing of it.
    let is_there = |address: &str| address == here || address.bytes().all(|digit| digit == b'0');
    holder_of(protocol, at.port(), is_there)
}

fn holder_of(protocol: &str, port: u16, is_there: impl Fn(&str) -> bool) -> Option<String> {
    if port == 0 {
        return None;
    }
    let tables = [protocol.to_owned(), format!("{protocol}6")];
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/net/{table}")).ok())
        .flat_map(|table| {
            let found: Vec<String> = inodes(&table, port, &is_there)
                .into_iter()
                .map(|inode| format!("socket:[{inode}]"))
                .collect();
            found
        })
        .collect();
    let mut processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let process = processes.find(|process| has_open(*process, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("{} (process {process})", name.trim()))
}

fn has_open(process: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| {
        target
            .to_str()
            .is_some_and(|target| sockets.iter().any(|socket| socket == target))
    })
}

/// The sockets of a table in the form of proc(5) that are bound to a port, at an address that counts, and connected to
/// nobody.
fn inodes(table: &str, port: u16, is_there: impl Fn(&str) -> bool) -> Vec<&str> {
    let local_port = format!(":{port:04X}");
    let bound = |line: &&str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1).and_then(|local| local.strip_suffix(&local_port));
        let local = local.is_some_and(&is_there);
        local && fields.next().is_some_and(|remote| remote.ends_with(":0000"))
    };
    table
        .lines()
        .skip(1)
        .filter(bound)
        .filter_map(|line| line.split_whitespace().nth(9))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_a_port_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            100: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31337 2 0 0\n\
            101: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n\
            102: 0100007F:0043 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 99 2 0 0\n";
        let any = |_: &str| true;
        assert_eq!(inodes(table, 67, any), ["31337"]);
        assert!(inodes(table, 68, any).is_empty());
        assert!(inodes("", 67, any).is_empty() && inodes("\n\n:0043", 67, any).is_empty());
        assert_eq!(inodes(table, 53, |address| address == "0100007F"), ["4711"]);
        assert!(inodes(table, 53, |address| address == "0100004D").is_empty());
    }
}
