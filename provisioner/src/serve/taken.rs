// SPDX-License-Identifier: Apache-2.0
//! Which program has a port: read from /proc, for the message at a start that fails.

use std::fs;

/// The program that has bound a port, with its process id; `None` where it cannot be told.
pub(crate) fn holder(protocol: &str, port: u16) -> Option<String> {
    if port == 0 {
        return None;
    }
    let tables = [protocol.to_owned(), format!("{protocol}6")];
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/net/{table}")).ok())
        .flat_map(|table| {
            let found: Vec<String> = inodes(&table, port)
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

/// The sockets of a table in the form of proc(5) that are bound to a port and connected to nobody.
fn inodes(table: &str, port: u16) -> Vec<&str> {
    let local_port = format!(":{port:04X}");
    let bound = |line: &&str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1).is_some_and(|local| local.ends_with(&local_port));
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
        assert_eq!(inodes(table, 67), ["31337"]);
        assert!(inodes(table, 68).is_empty());
        assert!(inodes("", 67).is_empty() && inodes("\n\n:0043", 67).is_empty());
    }
}
