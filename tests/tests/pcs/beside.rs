// SPDX-License-Identifier: Apache-2.0
//! Real firmware where another server leases the addresses: from the first day on, and from one moment to the next.

use std::time::Duration;

use tests::journey::{ENROL, Journey};
use tests::neighbour::Neighbour;
use tests::vm::{Firmware, Spec};
use tests::wait::until;

/// Nobody presses a key here.
const COMES_IN: &str = "[enrolment]\nunknown = \"enrol\"\n\n";
/// In which the provisioner has heard that somebody else leases.
const HEARD: Duration = Duration::from_mins(2);

/// Addresses that the neighbour leases begin with one of these.
fn is_the_neighbours(address: Option<&str>) -> bool {
    let last = address.and_then(|address| address.rsplit('.').next()).and_then(|last| {
        let digits: String = last.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u8>().ok()
    });
    last.is_some_and(|last| (130..=190).contains(&last))
}

/// From the power button to the list of nodes, with an address from the neighbour.
fn starts_beside_another_server(spec: Spec) {
    let mut journey = Journey::dark(COMES_IN).unwrap();
    let wire = journey.lab.wire().unwrap();
    let neighbour = Neighbour::dnsmasq(&wire, &[]).unwrap();
    journey.lab.start_server().unwrap();
    journey.lab.import_images().unwrap();
    let mut pc = journey.pc(spec).unwrap();
    until_heard(&journey, &neighbour);
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
    assert!(is_the_neighbours(node.address.as_deref()), "{node:#?}");
}

fn until_heard(journey: &Journey, neighbour: &Neighbour) {
    let name = neighbour.address.to_string();
    until("the provisioner to hear the other server", HEARD, || {
        let status = journey.lab.control().get("/api/v1/status")?.to_string();
        Ok(status.contains(&name).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_bios_pc_starts_beside_another_dhcp_server() {
    starts_beside_another_server(Spec::new(Firmware::Bios, 61));
}

#[test]
fn a_uefi_pc_starts_beside_another_dhcp_server() {
    starts_beside_another_server(Spec::new(Firmware::Uefi, 62));
}

#[test]
fn a_pc_starts_on_when_another_dhcp_server_appears_in_the_middle_of_its_life() {
    let mut journey = Journey::new(COMES_IN).unwrap();
    let wire = journey.lab.wire().unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Uefi, 63)).unwrap();
    journey.power_on(&mut pc).unwrap();
    journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
    pc.cut_power();

    let neighbour = Neighbour::dnsmasq(&wire, &[]).unwrap();
    until_heard(&journey, &neighbour);
    pc.serial().skip_to_end();
    journey.power_on(&mut pc).unwrap();
    let found = until("the PC to speak from the neighbour's address", ENROL, || {
        let nodes = journey.lab.control().nodes()?;
        Ok(nodes
            .into_iter()
            .find(|node| is_the_neighbours(node.address.as_deref())))
    });
    if let Err(error) = found {
        panic!("{error:#}\n{}", journey.evidence(&mut pc));
    }
    assert_eq!(
        journey.lab.control().nodes().unwrap().len(),
        1,
        "it is the same machine"
    );
}
