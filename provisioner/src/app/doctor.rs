// SPDX-License-Identifier: Apache-2.0
//! What stands in the way of machines and of the server, for people.

use std::sync::{Arc, PoisonError};

use provisioner_api::{Finding, SeenCard, SeenStart, SeenStep, Verified};

use super::{App, Change};
use crate::config::Profile;
use crate::doctor::installers::{Installers, PACKAGES_DOWN, Refused, WithoutMedium};
use crate::doctor::server::{self, Facts};
use crate::doctor::{self, Case, look};
use crate::journal::{Attempt, Card, Seen};
use crate::network::{Company, SegmentNow};
use crate::{packages, state};

impl App {
    /// Everything that does not work: the server first, then machines, the last seen first.
    pub fn findings(&self, now: i64) -> Vec<Finding> {
        let mut findings = server::examine(&self.facts(now));
        findings.extend(self.visitor_findings(now));
        findings.extend(self.boot_findings(now));
        findings
    }

    /// What is wrong with the server itself, but for what its images and services say.
    pub(super) fn server_findings(&self, now: i64) -> Vec<Finding> {
        let mut findings = server::examine(&self.facts(now));
        // Services speak for themselves there.
        findings.retain(|finding| finding.symptom != "warning" && finding.symptom != PACKAGES_DOWN);
        findings
    }

    /// Looks at machines on their way, and tells watchers when another one does not arrive, or does at last.
    pub fn examine(&self, now: i64) {
        // The words change with every second; who and why do not.
        let who = |findings: &[Finding]| -> Vec<(String, String)> {
            let pairs = findings
                .iter()
                .map(|finding| (finding.about.clone(), finding.symptom.clone()));
            pairs.collect()
        };
        let found = self.boot_findings(now);
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *troubles, found);
        let is_news = who(&before) != who(&troubles);
        drop(troubles);
        if is_news {
            self.announce(Change::Services);
        }
    }

    /// What keeps machines from arriving.
    pub fn boot_findings(&self, now: i64) -> Vec<Finding> {
        let cards = self.journal.cards();
        cards
            .iter()
            .filter(|card| !card.attempts.is_empty())
            .flat_map(|card| self.diagnose(card, now))
            .collect()
    }

    fn diagnose(&self, card: &Card, now: i64) -> Vec<Finding> {
        let node = self.name_of_card(card);
        let segment = self.segment_of(card);
        let client = card.last().map_or(&card.client, |attempt| &attempt.client);
        let next = self.memory.after_this(client, |file| self.images.has_loader(file));
        doctor::diagnose(&Case {
            card,
            node: node.as_deref(),
            segment: segment.as_ref(),
            next,
            now,
        })
    }

    /// The cards that were seen lately, the last seen first.
    pub fn seen_cards(&self) -> Vec<SeenCard> {
        let cards = self.journal.cards();
        cards.iter().map(|card| self.seen_card(card)).collect()
    }

    fn seen_card(&self, card: &Card) -> SeenCard {
        let lessons = self.memory.of(card.mac);
        SeenCard {
            mac: card.mac.to_string(),
            node: self.name_of_card(card),
            interface: card.interface.to_string(),
            address: card.address.map(|address| address.to_string()),
            firmware: card
                .client
                .firmware
                .map(|firmware| firmware.to_string())
                .unwrap_or_default(),
            last_seen: card.at,
            times: card.times,
            loader: lessons.and_then(|lessons| lessons.loader.worked),
            starts: card.attempts.iter().map(seen_start).collect(),
        }
    }

    fn name_of_card(&self, card: &Card) -> Option<String> {
        let nodes = self.registry.by_card(&card.mac.to_string(), None);
        match nodes.as_slice() {
            [node] => Some(node.name.clone()),
            _ => None,
        }
    }

    /// The segment on which a card was seen last.
    pub(super) fn segment_of(&self, card: &Card) -> Option<SegmentNow> {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.get(&Arc::clone(&card.interface)).cloned()
    }

    /// Profiles whose installers have nothing to start from.
    fn without_medium(&self) -> Vec<WithoutMedium> {
        let profiles = self.config.profiles.iter();
        let missing = |(name, profile): (&String, &Profile)| {
            let os = profile.installer()?.os;
            if !os.has_installer() {
                return None;
            }
            self.media.of(os).err()?;
            let mut held = self.media.all().into_iter().filter(|medium| medium.os == os);
            Some(WithoutMedium {
                profile: name.clone(),
                os: os.name,
                problem: held.find_map(|medium| medium.problem.clone()),
            })
        };
        profiles.filter_map(missing).collect()
    }

    /// Media that machines may be installed from though nobody vouches for them.
    fn unverified_media(&self) -> Vec<(&'static str, String)> {
        let all = self.media.all().into_iter();
        all.filter(|medium| medium.problem.is_none() && medium.record.verified == Verified::Nothing)
            .map(|medium| (medium.os.name, medium.record.source.clone()))
            .collect()
    }

    /// What the server can find out about itself while it runs.
    fn facts(&self, now: i64) -> Facts {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cache = self.package_cache_down();
        let mut warnings = self.asset_warnings();
        warnings.extend(
            services
                .iter()
                .filter(|service| !service.ok && (cache.is_none() || service.name != packages::SERVICE))
                .map(|service| format!("{}: {}", service.name, service.detail)),
        );
        let ram = self.images.ram().ok();
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let segments: Vec<SegmentNow> = segments.into_values().collect();
        let interrupted = |segment: &SegmentNow| match segment.company {
            Company::Beside(server) if segment.interrupted => Some((segment.interface.to_string(), server)),
            _ => None,
        };
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Facts {
            running: true,
            interrupted: segments.iter().filter_map(interrupted).collect(),
            unserved: gone.iter().map(ToString::to_string).collect(),
            room: look::room(&self.config.paths.state),
            exposed: state::readable_by_others(&self.config.paths.state),
            // An image that is there and whole proves that its key is trusted.
            trusts: true,
            built: look::built(now),
            now,
            warnings,
            installers: Installers {
                refused: self.templates.warning().map(|says| Refused {
                    says,
                    others: self.templates.now().is_ok(),
                }),
                without_medium: self.without_medium(),
                unverified: self.unverified_media(),
                cache,
            },
            ram_created: ram.and_then(|ram| i64::try_from(ram.manifest.created).ok()),
            ..Facts::default()
        }
    }
}

fn seen_start(attempt: &Attempt) -> SeenStart {
    let step = |seen: &Seen| SeenStep {
        at: seen.at,
        last: seen.last,
        times: seen.times,
        what: seen.step.to_string(),
    };
    SeenStart {
        secs: attempt.secs,
        steps: attempt.steps.iter().map(step).collect(),
    }
}
