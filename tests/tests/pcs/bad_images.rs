// SPDX-License-Identifier: Apache-2.0
//! An image that went bad after it was imported: the node refuses it before anything of it can start. (What is refused at
//! the import is told in `imports.rs`.)

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tests::journey::{EMPTY_DISKS, ENROL, Journey, READY};
use tests::vm::{Firmware, Spec};

#[test]
fn an_image_that_went_bad_in_the_store_is_refused_by_the_node_with_the_reason_on_its_screen() {
    let mut journey = Journey::new(EMPTY_DISKS).unwrap();
    let chunks = find(&journey.lab.control().state(), "chunks");
    flip_a_byte(&chunks, std::fs::metadata(&chunks).unwrap().len() / 4);

    let mut spec = Spec::new(Firmware::Bios, 21);
    spec.screen = true;
    let mut pc = journey.pc(spec).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "failed", READY).unwrap();
    assert!(
        node.reason.contains("corrupt") && node.reason.contains("import it again"),
        "{}",
        node.reason
    );
    pc.serial().wait_for("corrupt", ENROL).unwrap();
    let picture = journey.lab.folder().join("screen.png");
    pc.screenshot(&picture).unwrap();
    assert!(
        std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"),
        "the screen can be photographed"
    );
    pc.cut_power();
    let mut first = vec![0; 1 << 20];
    std::fs::File::open(pc.disk_file(0))
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert!(
        first.iter().all(|byte| *byte == 0),
        "what was half written cannot start"
    );

    // The admin does what the reason says; the machine is fine.
    let image = journey.lab.artifacts.node_image().unwrap();
    journey.lab.control().import(&image).unwrap();
    journey.lab.control().cli(&["node", "retry", &node.name]).unwrap();
    journey.power_on(&mut pc).unwrap();
    journey.wait_for(&mut pc, "ready", READY).unwrap();
}

/// Changes one bit of one byte.
fn flip_a_byte(file: &Path, at: u64) {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    byte[0] ^= 1;
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&byte).unwrap();
}

/// The largest file of this name below a folder.
fn find(folder: &Path, name: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                found.push(entry.path());
            }
        }
    }
    found
        .into_iter()
        .max_by_key(|file| std::fs::metadata(file).unwrap().len())
        .unwrap()
}
