// SPDX-License-Identifier: Apache-2.0
//! Who is who, when labels lie: two machines are two nodes, one machine stays one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use provisioner_api::{Life, Order, RebootInto, Smbios, path};
use tests::machine::{Machine, Step};
use tests::node::tls::Key;
use tests::node::{Node, inventory};
use tests::rom::Kind;
use tests::rom::script::Script;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::wait::until;

/// Switches the machine on, lets it introduce itself, and says which node it is.
fn who_is(machine: &mut Machine) -> Result<String> {
    machine.cut_power();
    machine.run_until(PATIENCE, |step| matches!(step, Step::Registered(_)))?;
    Ok(machine.registered().unwrap().node_id.clone())
}

/// Gives a machine other labels, on the outside (DHCP) and on the inside (SMBIOS).
fn label(machine: &mut Machine, uuid: Option<[u8; 16]>, serial: Option<&str>) {
    machine.rom.uuid = uuid;
    machine.inventory.smbios = Smbios {
        system_uuid: uuid.map(inventory::uuid_text),
        system_serial: serial.map(str::to_owned),
        board_serial: serial.map(str::to_owned),
        chassis_serial: serial.map(str::to_owned),
        ..machine.inventory.smbios.clone()
    };
}

/// Two machines with these labels are two nodes, and stay who they are.
fn are_two(street: &Street<'_>, number: u32, uuid: Option<[u8; 16]>, serial: Option<&str>) -> Result<()> {
    let mut pair = [
        street.machine(Kind::BiosPxe, number),
        street.machine(Kind::UefiX64, number + 1),
    ];
    for machine in &mut pair {
        label(machine, uuid, serial);
    }
    let [a, b] = &mut pair;
    let (first, second) = (who_is(a)?, who_is(b)?);
    ensure!(first != second, "{uuid:?} {serial:?} made one node of two machines");
    ensure!(
        who_is(a)? == first && who_is(b)? == second,
        "{uuid:?} {serial:?}: a machine became another node"
    );
    Ok(())
}

#[test]
fn two_machines_with_the_same_or_no_uuid_and_serials_are_two_nodes() {
    let mut yard = Yard::new(ALONE).unwrap();
    let nodes = yard
        .tell(|street| {
            let shared = [0x03, 0, 2, 0, 4, 0, 5, 0, 0, 6, 0, 7, 0, 8, 0, 9];
            let like_a_real_one = [
                0x12, 0x8f, 0x33, 0xa0, 0x11, 0xee, 0x41, 0x5c, 0x9a, 3, 0x77, 0xfe, 0x20, 0xc1, 0x66, 0x5d,
            ];
            are_two(street, 1, Some(like_a_real_one), None)?;
            are_two(street, 11, Some(shared), None)?;
            are_two(street, 21, Some([0; 16]), None)?;
            are_two(street, 31, Some([0xff; 16]), None)?;
            are_two(street, 41, None, Some("To Be Filled By O.E.M."))?;
            are_two(street, 51, Some(shared), Some("System Serial Number"))?;
            are_two(street, 61, None, Some("00000000"))?;
            street.server.nodes()
        })
        .unwrap();
    assert_eq!(nodes.len(), 14, "{nodes:#?}");
}

#[test]
fn the_same_machine_with_another_card_is_one_node() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        let before = who_is(&mut machine)?;
        let card = street.machine(Kind::BiosPxe, 2).rom.mac;
        machine.rom.mac = card;
        machine.inventory.nics = vec![inventory::nic(&machine.rom.mac_text())];
        ensure!(who_is(&mut machine)? == before, "another card made another node");
        ensure!(street.server.nodes()?.len() == 1);
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_same_machine_with_another_disk_is_one_node() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        let before = who_is(&mut machine)?;
        machine.inventory.disks = vec![inventory::disk("ANOTHER-1")];
        ensure!(who_is(&mut machine)? == before, "another disk made another node");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_usb_card_that_moves_between_machines_does_not_make_them_one() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let card = street.machine(Kind::UefiX64, 99).rom.mac;
        let mut nodes = Vec::new();
        for number in 1..=3 {
            let mut machine = street.machine(Kind::UefiX64, number);
            // A laptop without a socket of its own, and without labels that would tell it apart.
            label(&mut machine, None, Some("Default string"));
            machine.rom.mac = card;
            machine.inventory.nics = vec![inventory::usb_nic(&machine.rom.mac_text())];
            nodes.push(who_is(&mut machine)?);
        }
        nodes.dedup();
        ensure!(nodes.len() == 3, "three laptops, one card, {} nodes", nodes.len());
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_new_machine_is_examined_although_a_ready_node_has_its_uuid() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut ready = street.machine(Kind::UefiX64, 1);
        ready.run_until_serving(PATIENCE)?;
        let mut twin = street.machine(Kind::UefiX64, 2);
        twin.rom.uuid = ready.rom.uuid;
        twin.inventory
            .smbios
            .system_uuid
            .clone_from(&ready.inventory.smbios.system_uuid);
        let boot = twin.rom.boot(&street.ether)?;
        ensure!(
            matches!(boot.script, Script::Discover { .. }),
            "the twin was sent to its disk: {}",
            boot.text
        );
        twin.run_until_serving(PATIENCE)?;
        ensure!(street.summary(&ready)?.id != street.summary(&twin)?.id);
        // And the first one is still itself.
        ready.cut_power();
        ready.run_until_serving(PATIENCE)?;
        ensure!(ready.disk.writes == 2, "the ready node was written again");
        Ok(())
    })
    .unwrap();
}

/// Steps up to the RAM environment, whose command line says where the server is: what everybody on the cable can read.
fn what_the_script_says(machine: &mut Machine) -> Result<(std::net::SocketAddr, String)> {
    let Step::Booted(boot) = machine.run_until(PATIENCE, |step| matches!(step, Step::Booted(_)))? else {
        unreachable!("just matched")
    };
    let controller = boot.argument("gleaner.controller").context("no controller")?;
    let pin = boot.argument("gleaner.pin").context("no pin")?;
    Ok((controller.parse()?, pin.to_owned()))
}

/// A liar in RAM that shows the facts of another machine.
fn liar(from: Ipv4Addr, (controller, pin): &(std::net::SocketAddr, String), machine: &Machine) -> Result<Node> {
    let mut liar = Node::start(from, *controller, pin, Key::new()?)?;
    liar.register(Life::Ram, &machine.inventory)?;
    Ok(liar)
}

#[test]
fn a_ready_node_cannot_be_taken_by_showing_its_facts_months_before_its_rebuild() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut victim = street.machine(Kind::UefiX64, 1);
        let script = what_the_script_says(&mut victim)?;
        victim.run_until_serving(PATIENCE)?;
        let before = street.summary(&victim)?;

        let mut liar = liar(street.address()?, &script, &victim)?;
        let order = liar.orders(None, 0)?.order;
        ensure!(
            matches!(
                order,
                Order::Reboot {
                    into: RebootInto::Disk,
                    ..
                }
            ),
            "it is told to {order:?}"
        );
        liar.heartbeat().expect_err("its sign of life counts as the node's");
        let after = street.summary(&victim)?;
        ensure!(
            (&after.address, &after.reason, &after.liveness, &after.mac)
                == (&before.address, &before.reason, &before.liveness, &before.mac),
            "{after:?}"
        );
        let doctor = street.server.ask("GET", "/api/v1/doctor", None)?.text();
        ensure!(
            doctor.contains("turned-away") && doctor.contains(&street.address()?.to_string()),
            "{doctor}"
        );

        // Months later its node is installed again, and gets what is its own.
        let ssh_key = victim.disk.system.as_ref().context("no system")?.ssh_key.clone();
        victim.node()?.hang_up();
        street.command(&before.name, "rebuild")?;
        victim.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(_)))?;
        victim.run_until_serving(PATIENCE)?;
        ensure!(street.summary(&victim)?.id == before.id, "it came back as another node");
        ensure!(
            victim.disk.system.as_ref().context("no system")?.ssh_key == ssh_key,
            "it lost its identity"
        );
        let reply = liar.ask("GET", path::CAPSULE, None)?;
        ensure!(reply.status == 403, "the liar's capsule: {}", reply.status);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_node_whose_firmware_shows_the_address_of_its_dock_starts_its_own_disk() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        machine.run_until_serving(PATIENCE)?;
        let uuid = machine.inventory.smbios.system_uuid.clone().context("no UUID")?;
        let script = |mac: &str, uuid: &str| -> Result<String> {
            let url = street.url(&format!("/boot/ipxe?mac={mac}&uuid={uuid}"));
            Ok(tests::rom::get(street.address()?, &url)?.text())
        };
        let is_ram = |script: &str| script.contains("/ram/");
        let dock = "02-11-22-33-44-66";
        ensure!(
            is_ram(&script(dock, &uuid)?),
            "the node runs: this is another machine with its UUID"
        );
        machine.cut_power();
        until("the node in its dock to be sent to its disk", PATIENCE, || {
            Ok((!is_ram(&script(dock, &uuid)?)).then_some(()))
        })?;
        ensure!(
            is_ram(&script(dock, "88776655-4433-2211-aabb-ccddeeff0011")?),
            "another machine in that dock"
        );
        ensure!(
            is_ram(&script(dock, "03000200-0400-0500-0006-000700080009")?),
            "a placeholder says nothing"
        );
        // Its installation's secrets would go to whoever names its UUID: in RAM it is found out who it is.
        street.command(&street.summary(&machine)?.name, "rebuild")?;
        ensure!(
            is_ram(&script(dock, &uuid)?),
            "a node that is rebuilt needs the RAM environment"
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_node_that_strays_into_ram_is_sent_to_its_disk_and_serves_on() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        let script = what_the_script_says(&mut machine)?;
        machine.run_until_serving(PATIENCE)?;
        // A technician chose the network in its boot menu; its address is its own.
        let address = street.summary(&machine)?.address.context("no address")?.parse()?;
        let mut astray = liar(address, &script, &machine)?;
        let order = astray.orders(None, 0)?.order;
        ensure!(
            matches!(
                order,
                Order::Reboot {
                    into: RebootInto::Disk,
                    ..
                }
            ),
            "{order:?}"
        );
        machine.cut_power();
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.state(&machine)? == "ready");
        Ok(())
    })
    .unwrap();
}

#[test]
fn whoever_waits_for_a_rebuild_with_a_nodes_facts_is_not_installed_in_its_place() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut victim = street.machine(Kind::UefiX64, 1);
        let script = what_the_script_says(&mut victim)?;
        victim.run_until_serving(PATIENCE)?;
        let before = street.summary(&victim)?;
        let ssh_key = victim.disk.system.as_ref().context("no system")?.ssh_key.clone();
        victim.node()?.hang_up();
        street.command(&before.name, "rebuild")?;
        // It is the first in RAM, while the machine is still on its way down.
        let mut first = liar(street.address()?, &script, &victim)?;
        let order = first.orders(None, 0)?.order;
        ensure!(matches!(order, Order::Wait { .. }), "it is told to {order:?}");
        ensure!(street.state(&victim)? == "approved", "the liar is being installed");
        victim.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(_)))?;
        victim.run_until_serving(PATIENCE)?;
        ensure!(street.summary(&victim)?.id == before.id, "it came back as another node");
        ensure!(
            victim.disk.system.as_ref().context("no system")?.ssh_key == ssh_key,
            "it lost its identity"
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_node_whose_disk_was_replaced_is_installed_again_when_a_person_confirms_it() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until_serving(PATIENCE)?;
        let before = street.summary(&machine)?;
        street.command(&before.name, "rebuild")?;
        machine.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(_)))?;
        // A new disk of the same kind: the old key went with the old one.
        machine.disk.system = None;
        let why = machine.run_until_waiting(PATIENCE)?;
        ensure!(why.contains("operator"), "{why}");
        street.server.cli(&["node", "confirm", &before.name])?;
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.summary(&machine)?.id == before.id);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_node_with_an_older_node_init_is_installed_again_as_before() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        let from_disk = |machine: &Machine| machine.life() == Some(Life::Installed);
        while !from_disk(&machine) {
            machine.step()?;
        }
        machine.node()?.vouches = false;
        machine.run_until_serving(PATIENCE)?;
        let before = street.summary(&machine)?;
        street.command(&before.name, "rebuild")?;
        machine.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(_)))?;
        machine.disk.system = None;
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.summary(&machine)?.id == before.id);
        Ok(())
    })
    .unwrap();
}
