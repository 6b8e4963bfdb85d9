// SPDX-License-Identifier: Apache-2.0
//! A node with a single card moves it under a bridge for guests. If that cuts it off, it goes back by itself.

use std::time::Duration;

use provisioner_api::Stage;
use tests::journey::{EMPTY_DISKS, Journey, READY};
use tests::vm::{Firmware, Pc, Spec};
use tests::wait::until;

use crate::power_cuts::passes;

/// A minute in which the controller must be heard through the bridge, and half of one to go back.
const UNHEARD: Duration = Duration::from_secs(90);

#[test]
fn a_bridge_through_which_nobody_is_heard_is_undone_and_tried_again_without_a_hand() {
    let mut journey = Journey::new(EMPTY_DISKS).unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 43)).unwrap();
    journey.power_on(&mut pc).unwrap();
    it_builds_its_bridge(&mut journey, &mut pc);
    journey.lab.server().kill();
    passes(UNHEARD);
    journey.lab.start_server().unwrap();

    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    let detail = journey.lab.control().node(&node.name).unwrap();
    assert!(
        detail.compute.unwrap().network.bridge.is_some(),
        "in the end it has one"
    );
    let events = journey.lab.control().events(&node.name).unwrap();
    let told = events
        .iter()
        .any(|event| event.detail.contains("was undone: the controller was not heard"));
    assert!(told, "{events:#?}");
    assert_eq!(pc.power_ons(), 1);
}

fn it_builds_its_bridge(journey: &mut Journey, pc: &mut Pc) {
    let begun = until("the bridge to be built", READY, || {
        let nodes = journey.lab.control().nodes()?;
        let progress = nodes.first().and_then(|node| node.progress.as_ref());
        Ok(progress.filter(|at| at.stage == Stage::Bridging).map(drop))
    });
    if let Err(error) = begun {
        panic!("{error:#}\n{}", journey.evidence(pc));
    }
}
