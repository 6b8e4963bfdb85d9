// SPDX-License-Identifier: Apache-2.0
//! The nodes in memory, found by what they are asked for: boots and orders never wait for the database.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use provisioner_api::Life;

use super::Node;
use crate::identity::{Standing, is_placeholder, same_uuid};
use crate::lifecycle::State;

/// All nodes by id, and the ways to find one.
#[derive(Debug, Default)]
pub(super) struct Index {
    nodes: BTreeMap<String, Arc<Node>>,
    names: HashMap<String, String>,
    keys: HashMap<String, String>,
    macs: HashMap<String, Vec<String>>,
}

impl Index {
    pub(super) fn put(&mut self, node: Arc<Node>) {
        if let Some(old) = self.nodes.remove(&node.id) {
            self.forget(&old);
        }
        let id = &node.id;
        self.names.insert(node.name.clone(), id.clone());
        for key in keys(&node) {
            self.keys.insert(key.clone(), id.clone());
        }
        for mac in macs(&node) {
            self.macs.entry(mac.clone()).or_default().push(id.clone());
        }
        self.nodes.insert(id.clone(), node);
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(old) = self.nodes.remove(id) {
            self.forget(&old);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Node>> {
        self.nodes.get(id).cloned()
    }

    pub(super) fn find(&self, name_or_id: &str) -> Option<Arc<Node>> {
        let id = self.names.get(name_or_id).map_or(name_or_id, String::as_str);
        self.get(id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Node>> + Clone {
        self.nodes.values()
    }

    /// The node with this key, and which of its lives has it. While the system of a RAM life's key is being started
    /// for the first time both lives share it; the installed one takes it over when it registers.
    pub(super) fn by_key(&self, key: &str) -> Option<(Arc<Node>, Life)> {
        let node = self.get(self.keys.get(key)?)?;
        let life = if node.keys.ram.as_deref() == Some(key) {
            Life::Ram
        } else {
            Life::Installed
        };
        Some((node, life))
    }

    /// The nodes that a card may belong to: none, one, or several that it cannot tell apart.
    pub(super) fn by_card(&self, mac: &str, uuid: Option<&str>) -> Vec<Arc<Node>> {
        let ids = self.macs.get(mac).map(Vec::as_slice).unwrap_or_default();
        let nodes: Vec<Arc<Node>> = ids.iter().filter_map(|id| self.get(id)).collect();
        let uuid = uuid.filter(|uuid| !is_placeholder(uuid));
        let agrees = |node: &Arc<Node>| match (uuid, &node.facts.uuid) {
            (Some(asked), Some(known)) => Some(same_uuid(asked, known)),
            _ => None,
        };
        let nodes = without_claims(nodes, |node| agrees(node) != Some(false));
        let (built_in, usb): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.facts.macs.contains(mac));
        // A card that left its machine contradicts the UUID that it is asked with.
        let built_in: Vec<_> = built_in
            .into_iter()
            .filter(|node| agrees(node) != Some(false))
            .collect();
        let certain: Vec<_> = built_in
            .iter()
            .filter(|node| agrees(node) == Some(true))
            .cloned()
            .collect();
        match (certain.is_empty(), built_in.is_empty()) {
            (false, _) => certain,
            (true, false) => built_in,
            // A USB card moves: it needs the UUID's word.
            (true, true) => usb.into_iter().filter(|node| agrees(node) == Some(true)).collect(),
        }
    }

    /// The one node with this UUID; none where it is a placeholder, or several nodes have it.
    pub(super) fn by_uuid(&self, uuid: &str) -> Option<Arc<Node>> {
        if is_placeholder(uuid) {
            return None;
        }
        let has_it = |node: &&Arc<Node>| node.facts.uuid.as_deref().is_some_and(|known| same_uuid(uuid, known));
        let nodes = self.nodes.values().filter(has_it).cloned().collect();
        match without_claims(nodes, |_| true).as_slice() {
            [node] => Some(Arc::clone(node)),
            _ => None,
        }
    }

    pub(super) fn knows_mac(&self, mac: &str) -> bool {
        self.macs.contains_key(mac)
    }

    fn forget(&mut self, old: &Node) {
        self.names.remove(&old.name);
        for key in keys(old) {
            self.keys.remove(key);
        }
        for mac in macs(old) {
            if let Some(ids) = self.macs.get_mut(mac) {
                ids.retain(|id| *id != old.id);
                if ids.is_empty() {
                    self.macs.remove(mac);
                }
            }
        }
    }
}

/// What a machine claims that nobody approved takes no card from an approved node that it `may` belong to.
fn without_claims(mut nodes: Vec<Arc<Node>>, may: impl Fn(&Arc<Node>) -> bool) -> Vec<Arc<Node>> {
    let is_approved = |node: &Arc<Node>| node.standing() != Standing::Unapproved;
    if nodes.iter().any(|node| is_approved(node) && may(node)) {
        nodes.retain(is_approved);
    }
    nodes
}

/// A retired node is known by no key.
fn keys(node: &Node) -> impl Iterator<Item = &String> {
    let keys = [&node.keys.ram, &node.keys.written, &node.keys.home];
    keys.into_iter().flatten().filter(|_| node.state != State::Retired)
}

fn macs(node: &Node) -> impl Iterator<Item = &String> {
    node.facts.macs.iter().chain(&node.facts.usb_macs)
}
