// SPDX-License-Identifier: Apache-2.0
//! Which records of another server's answer are passed on: those of the question's own chain of aliases, and none of
//! a name of ours. Whatever else that server adds is dropped (RFC 5452, 6). Knows no socket.

use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Aliases behind one another in one answer. Real chains have up to five; a circle of them must end.
const MAX_ALIASES: usize = 16;

/// The records of `answers` that say what `name` has of `kind`; `ours` knows the names of this site.
pub(super) fn of_question(
    name: &Name,
    kind: RecordType,
    answers: &[Record],
    ours: impl Fn(&Name) -> bool,
) -> Vec<Record> {
    let mut chain = Vec::new();
    let mut current = name.clone();
    for _ in 0..=MAX_ALIASES {
        if ours(&current) {
            break;
        }
        let of_current: Vec<&Record> = answers
            .iter()
            .filter(|record| record.dns_class == DNSClass::IN && record.name == current)
            .collect();
        let asked = of_current.iter().filter(|record| record.record_type() == kind);
        let found = chain.len();
        chain.extend(asked.map(|record| (*record).clone()));
        if chain.len() > found {
            break;
        }
        // RFC 6672, 3.1: a server sends the alias that it made of a DNAME along, so that only aliases are followed here.
        let alias = of_current.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((*record, target.0.clone())),
            _ => None,
        });
        let Some((alias, target)) = alias else { break };
        chain.push(alias.clone());
        current = target;
    }
    chain
}

/// Whether the owner of an SOA record may speak for `name`: RFC 2308 has it name the zone that the name would be in.
pub(super) fn speaks_for(owner: &Name, name: &Name, ours: impl Fn(&Name) -> bool) -> bool {
    owner.zone_of(name) && !ours(owner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use hickory_resolver::proto::rr::rdata::{A, CNAME};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn address(owner: &str, last: u8) -> Record {
        Record::from_rdata(name(owner), 60, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
    }

    fn alias(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
    }

    fn ours(name: &Name) -> bool {
        Name::from_ascii("lab.internal.").unwrap().zone_of(name)
    }

    fn passed_on(answers: &[Record]) -> Vec<String> {
        let passed = of_question(&name("www.example.org."), RecordType::A, answers, ours);
        passed
            .iter()
            .map(|record| format!("{} {}", record.name, record.data))
            .collect()
    }

    #[test]
    fn only_the_chain_of_the_question_is_passed_on() {
        let answers = [
            address("bank.example.com.", 66),
            alias("WWW.example.org.", "a.example.net."),
            alias("other.example.org.", "bank.example.com."),
            address("a.example.net.", 7),
            address("example.org.", 66),
        ];
        assert_eq!(
            passed_on(&answers),
            ["WWW.example.org. a.example.net.", "a.example.net. 192.0.2.7"]
        );
        assert_eq!(passed_on(&[address("www.example.com.", 66)]), Vec::<String>::new());
    }

    #[test]
    fn nobody_else_says_what_a_name_of_ours_has() {
        let answers = [
            alias("www.example.org.", "node-001.lab.internal."),
            address("node-001.lab.internal.", 66),
            address("controller.lab.internal.", 66),
        ];
        assert_eq!(passed_on(&answers), ["www.example.org. node-001.lab.internal."]);
    }

    #[test]
    fn a_circle_of_aliases_ends() {
        let answers = [
            alias("www.example.org.", "a.example.org."),
            alias("a.example.org.", "www.example.org."),
        ];
        assert!(passed_on(&answers).len() <= MAX_ALIASES + 1);
    }

    #[test]
    fn a_zone_speaks_for_the_names_in_it_only() {
        assert!(speaks_for(&name("example.org."), &name("www.example.org."), ours));
        assert!(!speaks_for(&name("example.com."), &name("www.example.org."), ours));
        assert!(!speaks_for(&name("lab.internal."), &name("a.lab.internal."), ours));
    }

    proptest! {
        #[test]
        fn whatever_an_answer_holds_nothing_of_ours_gets_out(
            records in prop::collection::vec((0..6_usize, 0..6_usize, any::<bool>(), any::<u8>()), 0..40)
        ) {
            const NAMES: [&str; 6] = ["www.example.org.", "a.example.org.", "b.example.net.", "node-001.lab.internal.",
                "controller.lab.internal.", "lab.internal."];
            let answers: Vec<Record> = records
                .into_iter()
                .map(|(owner, target, is_alias, last)| {
                    if is_alias { alias(NAMES[owner], NAMES[target]) } else { address(NAMES[owner], last) }
                })
                .collect();
            let passed = of_question(&name("www.example.org."), RecordType::A, &answers, ours);
            prop_assert!(passed.iter().all(|record| !ours(&record.name)));
        }
    }
}
