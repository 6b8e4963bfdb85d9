// SPDX-License-Identifier: Apache-2.0
//! Which ports a firewall closes, read from what `nft list ruleset` and `iptables-save` print. Pure.
//!
//! It understands what administrators write to open and close ports, not every rule there could be: a rule with a
//! condition beside protocol and port (an interface, an address, a state) may open a port and is never blamed for
//! closing one.

use std::collections::HashMap;

/// UDP or TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

impl Protocol {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    fn lower(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A port that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Where, as `nft` names it: family, table, chain.
    pub chain: String,
    /// By what.
    pub rule: String,
}

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Return,
}

/// A rule, as far as it matters.
#[derive(Clone, Debug)]
struct Rule {
    text: String,
    /// Which protocol; `None` for all.
    protocol: Option<Protocol>,
    /// Which ports; empty for all.
    ports: Vec<(u16, u16)>,
    /// Whether it has conditions that are not understood.
    conditional: bool,
    verdict: Verdict,
}

#[derive(Clone, Debug, Default)]
struct Chain {
    /// Sees what comes in for this machine.
    is_entrance: bool,
    drops_rest: bool,
    rules: Vec<Rule>,
}

/// Jumps deeper than this are a circle.
const DEEPEST: u32 = 16;

/// The ports of `wanted` that this ruleset, as `nft list ruleset` prints it, closes.
pub fn closed_by_nft(ruleset: &str, wanted: &[(Protocol, u16)]) -> Vec<Door> {
    let mut chains: HashMap<String, Chain> = HashMap::new();
    let (mut table, mut chain) = (String::new(), String::new());
    for line in ruleset.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["table", family, name, "{"] => table = format!("{family} {name}"),
            ["chain", name, "{"] => {
                chain = format!("{table} {name}");
                chains.entry(chain.clone()).or_default();
            }
            ["}"] => chain.clear(),
            ["type", "filter", ..] if !chain.is_empty() => {
                let entry = chains.entry(chain.clone()).or_default();
                entry.is_entrance = line.contains("hook input");
                entry.drops_rest = line.contains("policy drop");
            }
            [] => {}
            _ if !chain.is_empty() => {
                if let Some(rule) = nft_rule(&words, line, &table) {
                    chains.entry(chain.clone()).or_default().rules.push(rule);
                }
            }
            _ => {}
        }
    }
    closed(&chains, wanted)
}

/// The same for what `iptables-save -t filter` prints.
pub fn closed_by_iptables(saved: &str, wanted: &[(Protocol, u16)]) -> Vec<Door> {
    let mut chains: HashMap<String, Chain> = HashMap::new();
    for line in saved.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, policy, ..] if name.starts_with(':') => {
                let name = &name[1..];
                let chain = chains.entry(format!("ip filter {name}")).or_default();
                chain.is_entrance = name == "INPUT";
                chain.drops_rest = policy == "DROP";
            }
            ["-A", name, ..] => {
                if let Some(rule) = iptables_rule(&words[2..], line) {
                    chains.entry(format!("ip filter {name}")).or_default().rules.push(rule);
                }
            }
            _ => {}
        }
    }
    closed(&chains, wanted)
}

fn closed(chains: &HashMap<String, Chain>, wanted: &[(Protocol, u16)]) -> Vec<Door> {
    let mut entrances: Vec<_> = chains.iter().filter(|(_, chain)| chain.is_entrance).collect();
    entrances.sort_by_key(|(name, _)| *name);
    let mut doors = Vec::new();
    for (protocol, port) in wanted {
        let shut = entrances.iter().find_map(|(name, chain)| {
            let by = match walk(chains, chain, *protocol, *port, DEEPEST) {
                Some((Verdict::Drop, by)) => by,
                None if chain.drops_rest => "policy drop".into(),
                _ => return None,
            };
            Some(Door {
                protocol: *protocol,
                port: *port,
                chain: (*name).clone(),
                rule: by,
            })
        });
        doors.extend(shut);
    }
    doors
}

/// What becomes of a new packet to this port, and by which rule; `None` where the chain says nothing.
fn walk(
    chains: &HashMap<String, Chain>,
    chain: &Chain,
    protocol: Protocol,
    port: u16,
    deeper: u32,
) -> Option<(Verdict, String)> {
    for rule in &chain.rules {
        let fits = rule.protocol.is_none_or(|wanted| wanted == protocol)
            && (rule.ports.is_empty() || rule.ports.iter().any(|(from, to)| (*from..=*to).contains(&port)));
        if !fits {
            continue;
        }
        // "Any interface but" and "only established" open nothing: what opens must name the port or be plain.
        let opens = !rule.conditional || !rule.ports.is_empty();
        match &rule.verdict {
            Verdict::Accept if opens => return Some((Verdict::Accept, rule.text.clone())),
            Verdict::Drop if !rule.conditional => return Some((Verdict::Drop, rule.text.clone())),
            Verdict::Return if !rule.conditional => return None,
            Verdict::Jump(target) if deeper > 0 => {
                let verdict = chains
                    .get(target)
                    .and_then(|chain| walk(chains, chain, protocol, port, deeper - 1));
                match verdict {
                    Some((Verdict::Drop, _)) if rule.conditional => {}
                    Some(verdict) => return Some(verdict),
                    None => {}
                }
            }
            _ => {}
        }
    }
    None
}

fn nft_rule(words: &[&str], line: &str, table: &str) -> Option<Rule> {
    let at = words
        .iter()
        .position(|word| matches!(*word, "accept" | "drop" | "reject" | "jump" | "goto" | "return"))?;
    let verdict = match words[at] {
        "accept" => Verdict::Accept,
        "return" => Verdict::Return,
        "jump" | "goto" => Verdict::Jump(format!("{table} {}", words.get(at + 1)?)),
        _ => Verdict::Drop,
    };
    let mut rule = Rule {
        text: line.to_owned(),
        protocol: None,
        ports: Vec::new(),
        conditional: false,
        verdict,
    };
    let conditions = line.split(" comment ").next().unwrap_or(line);
    let mut rest = &words[..at];
    while let [word, tail @ ..] = rest {
        rest = tail;
        match (*word, tail) {
            ("counter", ["packets", _, "bytes", _, after @ ..]) => rest = after,
            ("counter" | "log", _) | ("meta" | "ip", ["l4proto" | "protocol", ..]) => {}
            ("udp" | "tcp", ["dport", after @ ..]) => {
                rule.protocol = protocol(word);
                let (ports, after) = nft_ports(after);
                rule.conditional |= ports.is_empty();
                rule.ports = ports;
                rest = after;
            }
            ("th", ["dport", after @ ..]) => {
                let (ports, after) = nft_ports(after);
                rule.ports = ports;
                rest = after;
            }
            ("l4proto" | "protocol", [name, after @ ..]) if protocol(name).is_some() => {
                rule.protocol = protocol(name);
                rest = after;
            }
            _ => rule.conditional = true,
        }
    }
    // ICMP's and others' rules say nothing about ports.
    (!conditions.contains("icmp")).then_some(rule)
}

/// `67`, `67-69`, or `{ 67, 69 }`; what else it is has no ports that are understood.
fn nft_ports<'a, 'b>(words: &'b [&'a str]) -> (Vec<(u16, u16)>, &'b [&'a str]) {
    let Some((first, rest)) = words.split_first() else {
        return (Vec::new(), words);
    };
    if *first != "{" {
        return (range(first).into_iter().collect(), rest);
    }
    let end = rest.iter().position(|word| *word == "}").unwrap_or(rest.len());
    let ports = rest[..end].iter().filter_map(|word| range(word.trim_end_matches(',')));
    (ports.collect(), rest.get(end + 1..).unwrap_or_default())
}

fn iptables_rule(words: &[&str], line: &str) -> Option<Rule> {
    let mut rule = Rule {
        text: line.to_owned(),
        protocol: None,
        ports: Vec::new(),
        conditional: false,
        verdict: Verdict::Return,
    };
    let mut target = None;
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        rest = tail.get(1..).unwrap_or_default();
        match (*word, tail.first()) {
            ("-j" | "-g", Some(name)) => {
                target = Some(*name);
                // What follows are the target's own options.
                break;
            }
            ("-p", Some(name)) => {
                rule.protocol = protocol(name);
                if rule.protocol.is_none() && *name != "all" {
                    return None;
                }
            }
            ("--dport" | "--dports", Some(ports)) => {
                rule.ports = ports
                    .split(',')
                    .filter_map(|port| range(&port.replace(':', "-")))
                    .collect();
            }
            ("-m", Some(&("udp" | "tcp" | "multiport" | "comment"))) | ("--comment", _) => {}
            _ => rule.conditional = true,
        }
    }
    rule.verdict = match target? {
        "ACCEPT" => Verdict::Accept,
        "DROP" | "REJECT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        "LOG" | "NFLOG" => return None,
        chain => Verdict::Jump(format!("ip filter {chain}")),
    };
    Some(rule)
}

fn protocol(name: &str) -> Option<Protocol> {
    [Protocol::Udp, Protocol::Tcp]
        .into_iter()
        .find(|known| known.lower() == name)
}

/// Ports by number, or by the names that `nft` prints for ours.
fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| match text {
        "bootps" => Some(67),
        "tftp" => Some(69),
        "ntp" => Some(123),
        "http-alt" => Some(8080),
        other => other.parse().ok(),
    };
    match text.split_once('-') {
        Some((from, to)) => Some((number(from)?, number(to)?)),
        None => number(text).map(|port| (port, port)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: [(Protocol, u16); 4] = [
        (Protocol::Udp, 67),
        (Protocol::Udp, 69),
        (Protocol::Tcp, 8080),
        (Protocol::Tcp, 8443),
    ];

    fn ports(doors: &[Door]) -> Vec<u16> {
        doors.iter().map(|door| door.port).collect()
    }

    fn input(policy: &str, rules: &str) -> String {
        format!(
            "table inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy {policy};\n{rules}\n\t}}\n}}\n"
        )
    }

    #[test]
    fn no_rules_close_nothing() {
        assert_eq!(closed_by_nft("", &WANTED), []);
        assert_eq!(closed_by_nft(&input("accept", ""), &WANTED), []);
        assert_eq!(closed_by_iptables("", &WANTED), []);
    }

    #[test]
    fn a_policy_closes_what_no_rule_opens() {
        let rules = "ct state established,related accept\niifname \"lo\" accept\ntcp dport { 22, 8080-8090 } accept\n\
            udp dport 67 counter packets 1 bytes 300 accept comment \"dhcp\"";
        let doors = closed_by_nft(&input("drop", rules), &WANTED);
        assert_eq!(ports(&doors), [69, 8443]);
        assert_eq!(
            (doors[0].chain.as_str(), doors[0].rule.as_str()),
            ("inet filter input", "policy drop")
        );
    }

    #[test]
    fn a_port_that_is_open_on_one_interface_is_not_blamed() {
        let doors = closed_by_nft(&input("drop", "iifname \"br0\" udp dport { 67, 69 } accept"), &WANTED);
        assert_eq!(ports(&doors), [8080, 8443]);
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules =
            "udp dport 69 drop\nudp dport 69 accept\ntcp dport 8080 accept\ntcp dport 8080 reject with tcp reset";
        assert_eq!(ports(&closed_by_nft(&input("accept", rules), &WANTED)), [69]);
        let rules = "ip saddr 192.0.2.7 udp dport 69 drop";
        assert_eq!(closed_by_nft(&input("accept", rules), &WANTED), []);
    }

    #[test]
    fn other_chains_are_followed_and_circles_end() {
        let text = "table inet filter {\nchain pxe {\nudp dport { 67, 69 } accept\njump pxe\n}\nchain input {\n\
            type filter hook input priority 0; policy accept;\njump pxe\ncounter packets 0 bytes 0 drop\n}\n}";
        assert_eq!(ports(&closed_by_nft(text, &WANTED)), [8080, 8443]);
        let output = "table inet f {\nchain output {\ntype filter hook output priority 0; policy drop;\n}\n}";
        assert_eq!(closed_by_nft(output, &WANTED), []);
    }

    #[test]
    fn iptables_is_read_as_well() {
        let saved = "*filter\n:INPUT DROP [0:0]\n:PXE - [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
            -A INPUT -p udp -m udp --dport 67:68 -j ACCEPT\n-A INPUT -p tcp -m multiport --dports 22,8080 -j ACCEPT\n\
            -A INPUT -j PXE\n-A PXE -p udp -m udp --dport 69 -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n";
        let doors = closed_by_iptables(saved, &WANTED);
        assert_eq!(ports(&doors), [69, 8443]);
        assert!(doors[0].rule.contains("--dport 69"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail(text in any::<String>(), rules in "([a-z0-9{},\"-]{1,8}[ \n]){0,40}") {
            closed_by_nft(&text, &WANTED);
            closed_by_nft(&input("drop", &rules), &WANTED);
            closed_by_iptables(&text, &WANTED);
            closed_by_iptables(&format!(":INPUT DROP\n-A INPUT {rules}"), &WANTED);
        }
    }
}
