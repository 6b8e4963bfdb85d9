// SPDX-License-Identifier: Apache-2.0
//! The processor, from `/proc/cpuinfo`.

use std::collections::{BTreeMap, BTreeSet};

use provisioner_api::{Cpu, Kvm, VirtExtension};

/// Flags of the x86-64 micro-architecture levels 2, 3 and 4 (System V ABI, x86-64 supplement 1.0, section 3.1.1), in
/// the kernel's spelling: `pni` is SSE3, `abm` is LZCNT, `xsave` stands for OSXSAVE.
const LEVELS: [&[&str]; 3] = [
    &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
    &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
    &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/// What `/proc/cpuinfo` tells; [`Cpu::kvm`] is left for `kvm.rs`.
pub(crate) fn parse(cpuinfo: &str) -> Cpu {
    let mut cores_of_socket = BTreeMap::new();
    let mut common: Option<BTreeSet<&str>> = None;
    let mut cpu = Cpu {
        kvm: Kvm::default(),
        ..Cpu::default()
    };
    for block in cpuinfo.split("\n\n") {
        let fields: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        if !fields.contains_key("processor") {
            continue;
        }
        cpu.threads += 1;
        let word = |key: &str| fields.get(key).copied().unwrap_or_default();
        if cpu.threads == 1 {
            word("vendor_id").clone_into(&mut cpu.vendor);
            cpu.model = word("model name").split_whitespace().collect::<Vec<_>>().join(" ");
        }
        let cores = word("cpu cores").parse::<u32>().unwrap_or(1);
        cores_of_socket.insert(word("physical id"), cores);
        let flags: BTreeSet<&str> = word("flags").split_whitespace().collect();
        common = Some(match common {
            Some(before) => before.intersection(&flags).copied().collect(),
            None => flags,
        });
    }
    let flags = common.unwrap_or_default();
    cpu.sockets = u32::try_from(cores_of_socket.len()).unwrap_or(u32::MAX);
    // A guest without topology gives every thread a socket of its own or none: never fewer cores than sockets.
    cpu.cores = cores_of_socket
        .values()
        .fold(0_u32, |sum, cores| sum.saturating_add(*cores))
        .min(cpu.threads);
    cpu.bits64 = flags.contains("lm");
    cpu.virtualization = match () {
        () if flags.contains("vmx") => Some(VirtExtension::VtX),
        () if flags.contains("svm") => Some(VirtExtension::AmdV),
        () => None,
    };
    cpu.level = level(&flags);
    cpu
}

fn level(flags: &BTreeSet<&str>) -> u8 {
    if !flags.contains("lm") {
        return 0;
    }
    let reached = LEVELS
        .iter()
        .take_while(|needed| needed.iter().all(|flag| flags.contains(flag)))
        .count();
    1 + u8::try_from(reached).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO_CORES: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM)2 Duo CPU     \
        E8400  @ 3.00GHz\nphysical id\t: 0\ncpu cores\t: 2\nflags\t\t: fpu lm vmx pni ssse3 cx16 sse4_1 lahf_lm\n\n\
        processor\t: 1\nvendor_id\t: GenuineIntel\nphysical id\t: 0\ncpu cores\t: 2\n\
        flags\t\t: fpu lm vmx pni ssse3 cx16 sse4_1 lahf_lm\n\n";

    #[test]
    fn a_core_2_duo_has_one_socket_two_cores_vt_x_and_the_first_level() {
        let cpu = parse(TWO_CORES);
        assert_eq!((cpu.sockets, cpu.cores, cpu.threads), (1, 2, 2));
        assert_eq!(cpu.model, "Intel(R) Core(TM)2 Duo CPU E8400 @ 3.00GHz");
        assert_eq!(
            (cpu.virtualization, cpu.bits64, cpu.level),
            (Some(VirtExtension::VtX), true, 1)
        );
    }

    #[test]
    fn the_level_is_what_all_threads_reach() {
        let all = LEVELS.concat().join(" ");
        let big = format!("processor: 0\nflags: lm {all}\n\n");
        assert_eq!(parse(&big).level, 4);
        assert_eq!(parse(&format!("{big}processor: 1\nflags: lm\n\n")).level, 1);
        assert_eq!(parse("processor: 0\nflags: sse2\n\n").level, 0);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange_to_read(text in "(?s).{0,400}") {
            parse(&text);
            parse(&format!("processor : 0\n{text}"));
        }
    }
}
