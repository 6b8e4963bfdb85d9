// SPDX-License-Identifier: Apache-2.0
//! What machines ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use provisioner_api::limits::cut;
use provisioner_api::{Capsule, Heartbeat, Life, Names, NodeEvent, Orders, Progress, Register, Registered, cmdline};
use pxe::Mac;
use pxe::argument::{Argument, Unfit};
use pxe::home::Home;
use tracing::info;

use super::home::home_of;
use super::{App, AppError, Caller, Change};
use crate::boot::{self, Boot, Card, Obstacle};
use crate::events;
use crate::identity;
use crate::lifecycle::State;
use crate::network::neighbours;
use crate::orders::{self, Site};
use crate::registry::{Around, Entry, Introduction, Node, Registration};

/// Who asks for a boot script.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    /// The card that it came over; `None` where the loader cannot name it.
    pub mac: Option<Mac>,
    /// SMBIOS's UUID, as firmware or the loader printed it.
    pub uuid: Option<&'a str>,
    /// The address that it asks from.
    pub from: Option<Ipv4Addr>,
    /// What was chosen in its menu.
    pub choice: Option<Choice>,
    /// Whether its loader says that its processor is a 32-bit one.
    pub processor_of_32_bits: bool,
    /// Whether its loader says that it has looked for its own system on all disks in vain.
    pub not_found: bool,
}

/// What a person, or the time, has chosen in the menu of an unknown machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Its own disk.
    Disk,
    /// To come in.
    Enrol,
}

/// Who may be asking for a script.
pub(super) struct Asking {
    /// None, one, or several that cannot be told apart.
    pub(super) nodes: Vec<Arc<Node>>,
    /// Whether their card says so; else it is the UUID.
    pub(super) is_by_card: bool,
}

/// Whether a card really asks that a question names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// The address that the question comes from is that card's.
    Itself,
    /// It is another card's.
    Another,
    /// It is not known whose it is.
    Unknown,
}

impl Choice {
    /// Understands the word by which scripts name it.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "disk" => Some(Self::Disk),
            "enrol" => Some(Self::Enrol),
            _ => None,
        }
    }
}

/// What a machine is told that asks for the installer of another one.
const ANOTHER: &str = "this start asks in the name of a machine that has another address; an installation's secrets are \
    given to its own machine only. Start it again from its network card.";

/// What a machine is told of which it is not known yet whose card asks.
const NOT_KNOWN: &str = "it is not known yet whose card asks from this address, and an installation's secrets are given to its \
    own machine only; it asks again by itself. If this does not end, its address comes from another DHCP server behind a \
    relay: let this server give it, or install an image.";

/// Letters of a machine's words in a line of the log.
const LOGGED: usize = 300;

/// Letters of a boot id or a version at most: a UUID has 36.
const LONGEST_LABEL: usize = 128;

impl App {
    /// What a machine boots that asks for its script. Takes note of the question, and writes where it lets a machine in.
    pub fn boot(&self, who: &Who<'_>, now: i64) -> Boot {
        let missing = self.images.ram().err();
        let missing = missing.as_deref().map(Obstacle::NoRam);
        let obstacle = who.processor_of_32_bits.then_some(Obstacle::Processor).or(missing);
        let Asking { nodes, is_by_card } = self.asking(who, now);
        let mut answers = nodes.iter().map(|node| boot::decide(Card::Of(&node.state), obstacle));
        let boot = match answers.next() {
            // An installation's secrets go to a card of its node: in RAM it is found out which cards those are.
            Some(Boot::Install) if !is_by_card => boot::decide(Card::Shared, obstacle),
            // Several nodes that a card cannot tell apart, and one answer for all of them, is an answer; but what an
            // installer is given is for one machine.
            Some(first) if answers.all(|other| other == first && first != Boot::Install) => first,
            Some(_) => boot::decide(Card::Shared, obstacle),
            None => boot::decide(Card::Unknown(self.admit(who, now)), obstacle),
        };
        let home = home_of(&nodes);
        let boot = match boot {
            Boot::LocalDisk if home != Home::Any && who.not_found => Boot::NotFound,
            boot => boot,
        };
        let asks = self.asks(who);
        // Anybody can write a card's address into a question: what is not certain teaches nothing, and is given nothing.
        if let (Asks::Itself, Some(mac), Some(from)) = (asks, who.mac, who.from) {
            self.scripted(mac, from, &boot, &home, now);
            if boot == Boot::NotFound {
                self.not_found(&nodes, now);
            }
        }
        match asks {
            Asks::Another if boot == Boot::Install => Boot::Stop { why: ANOTHER.into() },
            Asks::Unknown if boot == Boot::Install => Boot::AskAgain { why: NOT_KNOWN.into() },
            _ => boot,
        }
    }

    /// The nodes that may be asking: those with this card, else the one with this UUID.
    pub(super) fn asking(&self, who: &Who<'_>, now: i64) -> Asking {
        let mac = who.mac.map(|mac| mac.to_string()).unwrap_or_default();
        let by_card = self.registry.by_card(&mac, who.uuid);
        let is_by_card = !by_card.is_empty();
        let nodes = if is_by_card {
            by_card
        } else {
            self.known_by_uuid(who, now)
        };
        Asking { nodes, is_by_card }
    }

    /// The node that asks by a card that is nobody's, by its UUID: a dock or a USB card shows firmware another address than
    /// the system. A node that is heard runs, so that another machine asks whose maker wrote the same UUID; and a machine
    /// that nobody approved gets in by its door, whatever UUID it shows.
    fn known_by_uuid(&self, who: &Who<'_>, now: i64) -> Vec<Arc<Node>> {
        let node = who.uuid.and_then(|uuid| self.registry.by_uuid(uuid));
        let may_ask = |node: &Arc<Node>| node.state != State::Enrolled && !self.runs(node, now);
        node.filter(may_ask).into_iter().collect()
    }

    /// Whether a node was heard lately, and not as it went down.
    fn runs(&self, node: &Node, now: i64) -> bool {
        let seen = self.presence.of(&node.id);
        let leaves = seen.as_ref().is_some_and(|seen| seen.leaving);
        !leaves && self.liveness(node, seen.as_ref(), now) == "alive"
    }

    /// Whose card asks. By the lease that this server gave, else by ARP; behind a relay ARP shows nothing.
    pub(super) fn asks(&self, who: &Who<'_>) -> Asks {
        let (Some(mac), Some(from)) = (who.mac, who.from) else {
            return Asks::Unknown;
        };
        match self.journal.leased_to(from).or_else(|| neighbours::card_now(from)) {
            Some(card) if card == mac => Asks::Itself,
            Some(_) => Asks::Another,
            None => Asks::Unknown,
        }
    }

    /// What a screen calls the machine with this card: by its name if it is known without doubt, else by its card.
    pub fn screen_name(&self, mac: Option<&str>, uuid: Option<&str>) -> String {
        let Some(mac) = mac else {
            return "this machine".into();
        };
        match self.registry.by_card(mac, uuid).as_slice() {
            [node] => node.name.clone(),
            _ => mac.to_owned(),
        }
    }

    /// The kernel's arguments by which node-init in RAM finds the controller and knows it, and what the site adds.
    pub fn ram_arguments(&self, controller: Ipv4Addr, port: u16) -> Result<Vec<Argument>, Unfit> {
        let ours = [
            Argument::new(format!("{}={controller}:{port}", cmdline::CONTROLLER))?,
            Argument::new(format!("{}={}", cmdline::PIN, self.key.pin))?,
        ];
        Ok(ours
            .into_iter()
            .chain(self.config.ram_kernel_args.iter().cloned())
            .collect())
    }

    /// The node whose TLS key (SHA-256 of its `SubjectPublicKeyInfo`, hex) this is.
    pub fn caller(&self, key: &str) -> Option<Caller> {
        let (node, life) = self.registry.by_key(key)?;
        Some(Caller {
            node: node.id.clone(),
            life,
        })
    }

    /// A machine introduces itself with its key. Writes.
    pub fn register(&self, key: &str, from: IpAddr, register: &Register, now: i64) -> Result<Registered, AppError> {
        check_labels(register)?;
        self.listens(key, from, now)?;
        let name = |number| name_of(&self.config.nodes.name_pattern, number);
        let door = self.door(key, from, register, now)?;
        let who = Introduction {
            key,
            from,
            register,
            door,
        };
        let around = Around {
            name: &name,
            present: &|node| self.present(node, now),
        };
        let node = match self.registry.register(&who, &around, now)? {
            Registration::Node(node) => node,
            Registration::TurnedAway(node, why) => return self.turn_away((key, from), &node, why, now),
        };
        self.visitors.leaves(key);
        info!(node = node.name, life = ?register.life, %from, state = %node.state, "registered");
        self.presence.heard(&node.id, from, now);
        self.presence.update(&node.id, |seen| seen.progress = None);
        self.introduced(&register.inventory, register.life, now);
        if node.state == State::Enrolled && register.life == Life::Ram {
            self.approve_by_rule(&node, now)?;
        }
        self.changed(&node.id);
        Ok(Registered {
            node_id: node.id.clone(),
            name: node.name.clone(),
            site: self.config.site.clone(),
            vouch: false,
        })
    }

    /// The caller's order as of now. `local` is the address at which it reached the server's API.
    pub fn orders(&self, caller: &Caller, local: SocketAddr) -> Result<Orders, AppError> {
        let node = self.node_of(caller)?;
        let profile = node
            .state
            .plan()
            .and_then(|plan| self.config.profiles.get(&plan.profile));
        let source = self.source(&node, profile, local.ip());
        let mut ntp = vec![local.ip().to_string()];
        ntp.extend(profile.iter().flat_map(|profile| profile.ntp.iter().cloned()));
        let names = self.config.dns.as_ref().map(|dns| Names {
            servers: vec![local.ip().to_string()],
            domain: dns.domain.clone(),
        });
        let heartbeat = u32::try_from(self.config.nodes.heartbeat.as_secs()).unwrap_or(u32::MAX);
        let site = Site {
            profile,
            source,
            controller: local.to_string(),
            pin: &self.key.pin,
            ntp,
            names,
            role: profile
                .zip(node.state.plan())
                .and_then(|(profile, plan)| self.node_role(profile, plan)),
            mark: node.mark.as_deref(),
            heartbeat,
            obstacle: &node.note,
        };
        Ok(orders::for_node(&node.name, &node.state, caller.life, &site))
    }

    /// The caller's order once it is not `seen` any more, or after `wait`, whichever comes first.
    pub async fn next_orders(
        &self,
        caller: &Caller,
        local: SocketAddr,
        seen: Option<u64>,
        wait: Duration,
    ) -> Result<Orders, AppError> {
        let waiter = self.presence.waiter(&caller.node);
        let mut timeout = std::pin::pin!(tokio::time::sleep(wait));
        // By its question, once: what wakes the wait is no word of the node, which may have lost its power meanwhile.
        self.presence.still_there(&caller.node);
        loop {
            let mut woken = std::pin::pin!(waiter.notified());
            // From here on a change is heard, also one between the look and the wait.
            woken.as_mut().enable();
            let orders = self.orders(caller, local)?;
            if seen != Some(orders.revision) {
                return Ok(orders);
            }
            tokio::select! {
                () = woken => {}
                () = &mut timeout => return Ok(orders),
            }
        }
    }

    /// Something happened to the caller. Writes. Hearing it twice changes nothing.
    pub fn event(&self, caller: &Caller, event: &NodeEvent, now: i64) -> Result<(), AppError> {
        self.hears(&caller.node, now)?;
        if self.registry.hear(&caller.node, caller.life, event, now)? {
            let node = self.node_of(caller)?;
            let told = format!("{:?}", event.event);
            info!(node = node.name, event = %cut(&told, LOGGED), state = %node.state, "heard");
            // What it said of how far it is ends here; the next start tells its own.
            let leaving = event.event == provisioner_api::Event::Rebooting;
            if matches!(node.state, State::Failed { .. }) || leaving {
                self.presence.update(&node.id, |seen| {
                    seen.progress = None;
                    seen.leaving |= leaving;
                });
            }
        }
        self.changed(&caller.node);
        Ok(())
    }

    /// How far the caller is.
    pub fn progress(&self, caller: &Caller, from: IpAddr, progress: Progress, now: i64) {
        let current = self
            .registry
            .node(&caller.node)
            .is_some_and(|node| is_current(&node, caller, &progress.boot_id));
        if current {
            self.presence.heard(&caller.node, from, now);
            self.presence
                .update(&caller.node, |seen| seen.progress = Some(progress));
            self.announce(Change::Node(caller.node.clone()));
        }
    }

    /// A sign of life. Writes only when the node was lost.
    pub fn heartbeat(&self, caller: &Caller, from: IpAddr, heartbeat: &Heartbeat, now: i64) -> Result<(), AppError> {
        let node = self.node_of(caller)?;
        if !is_current(&node, caller, &heartbeat.boot_id) {
            return Ok(());
        }
        self.presence.heard(&node.id, from, now);
        let was_lost = self.presence.update(&node.id, |seen| {
            seen.load = Some(heartbeat.load);
            std::mem::take(&mut seen.lost)
        });
        if was_lost {
            info!(node = node.name, "back");
            let entry = Entry {
                kind: "back",
                detail: "heard again".into(),
                actor: events::NODE.into(),
            };
            self.registry.write_down(Some(&node.id), &entry, now)?;
        }
        self.announce(Change::Node(node.id.clone()));
        Ok(())
    }

    /// The caller's capsule: in its RAM life while it is being installed, and in the first start of a system that
    /// node-init did not set up, which gets it nowhere else.
    pub fn capsule(&self, caller: &Caller) -> Result<Capsule, AppError> {
        let node = self.node_of(caller)?;
        let may = match (&node.state, caller.life) {
            (State::Installing { written: false, .. }, Life::Ram) => true,
            (
                State::Installing {
                    written: true, plan, ..
                },
                Life::Installed,
            ) => plan.joins(),
            _ => false,
        };
        if !may {
            return Err(AppError::Forbidden(
                "a capsule is given to its node only while it is being installed".into(),
            ));
        }
        let capsule = self.registry.capsule(&node.id)?;
        let capsule = capsule.ok_or_else(|| AppError::NotFound(format!("no capsule of {} is kept", node.name)))?;
        // The operator's name wins over the one that the node had when the capsule was made.
        Ok(Capsule {
            name: node.name.clone(),
            ..capsule
        })
    }

    /// Keeps the capsule of the installed caller. Writes.
    pub fn keep_capsule(&self, caller: &Caller, capsule: &Capsule, now: i64) -> Result<(), AppError> {
        let node = self.node_of(caller)?;
        let at_home = matches!(
            node.state,
            // Approved: a rebuild was ordered, and this is the last moment to keep it.
            State::Installing { written: true, .. }
                | State::Ready { .. }
                | State::Draining { .. }
                | State::Approved { .. }
        );
        if caller.life != Life::Installed || !at_home {
            return Err(AppError::Forbidden(
                "only an installed node can leave its capsule here".into(),
            ));
        }
        self.hears(&node.id, now)?;
        self.registry.keep_capsule(&node.id, capsule, now)?;
        self.announce(Change::Node(node.id.clone()));
        Ok(())
    }

    fn node_of(&self, caller: &Caller) -> Result<std::sync::Arc<Node>, AppError> {
        let node = self.registry.node(&caller.node);
        // A question that was open when the node was retired ends as well.
        let node = node.filter(|node| node.state != State::Retired);
        node.ok_or_else(|| AppError::NotFound("this machine is not registered any more; register again".into()))
    }
}

fn is_current(node: &Node, caller: &Caller, boot_id: &str) -> bool {
    node.start(caller.life).is_some_and(|start| start.boot_id == boot_id)
}

/// Whether the system on the node's disk is one that will call.
pub(super) fn comes_home(state: &State) -> bool {
    matches!(
        state,
        State::Ready { .. } | State::Draining { .. } | State::Installing { written: true, .. }
    )
}

fn check_labels(register: &Register) -> Result<(), AppError> {
    let fits = |label: &str| {
        !label.is_empty() && label.len() <= LONGEST_LABEL && !label.contains(provisioner_api::text::is_invisible)
    };
    if fits(&register.boot_id) && fits(&register.version) {
        Ok(())
    } else {
        Err(AppError::Invalid("boot_id and version must be short words".into()))
    }
}

/// The host name with a number in the place of the pattern's run of `#`.
fn name_of(pattern: &str, number: u64) -> String {
    let Some(at) = pattern.find('#') else {
        return format!("{pattern}{number}");
    };
    let rest = pattern[at..].trim_start_matches('#');
    let digits = pattern.len() - at - rest.len();
    format!("{}{number:0digits$}{rest}", &pattern[..at])
}

impl App {
    /// Whether a card belongs to a node that is known.
    pub fn knows_card(&self, mac: &str) -> bool {
        !identity::is_placeholder_mac(mac) && self.registry.knows_mac(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_are_numbered_as_the_pattern_says() {
        assert_eq!(name_of("node-###", 7), "node-007");
        assert_eq!(name_of("node-#", 1234), "node-1234");
        assert_eq!(name_of("lab##-pc", 3), "lab03-pc");
        assert_eq!(name_of("pc", 3), "pc3");
    }
}
