// SPDX-License-Identifier: Apache-2.0
//! `node-init-libvirt KIND BRIDGE`: makes what guests need, prints what the node offers as JSON, ends.
//!
//! `KIND` is `kvm` where the kernel really runs virtual machines, else `qemu`; `BRIDGE` is `-` where there is none.
//! Only node-init starts it; [`node_init::compute`] says why it is a program of its own.

use std::process::ExitCode;

use node_init::compute::libvirt;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, bridge] = arguments.as_slice() else {
        eprintln!("usage: node-init-libvirt kvm|qemu BRIDGE|-");
        return ExitCode::from(2);
    };
    let bridge = Some(bridge.as_str()).filter(|bridge| *bridge != "-");
    match libvirt::offer(kind == "kvm", bridge).and_then(|offer| Ok(serde_json::to_string(&offer)?)) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
