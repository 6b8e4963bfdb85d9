// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use pxe::tftp::Options;

use super::*;

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}

fn on_disk(bytes: &[u8]) -> Content {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Content::Disk {
        file: Arc::new(file),
        size: bytes.len() as u64,
    }
}

fn client() -> (UdpSocket, Peer) {
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    // Long enough for any machine; what is missing fails the test all the same.
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let std::net::SocketAddr::V4(address) = socket.local_addr().unwrap() else {
        unreachable!("it was bound to an IPv4 address")
    };
    (socket, address)
}

/// What a client hears of some blocks.
fn heard(content: Content, block_size: u16, blocks: Range<u64>, segments: bool) -> Vec<Vec<u8>> {
    let (client, address) = client();
    let options = Options {
        block_size: Some(block_size),
        window: Some(LARGEST_WINDOW),
        ..Options::default()
    };
    let (transfer, _) = Transfer::start(content.size(), &options, Duration::ZERO);
    let mut connection = Connection::open(LOOPBACK, address, content).unwrap();
    connection.segments = segments;
    connection
        .send_blocks(&transfer, blocks.clone(), &mut Scratch::new())
        .unwrap();
    let mut buffer = [0; 2048];
    let mut packet = || {
        let length = client.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    };
    blocks.map(|_| packet()).collect()
}

fn expected(bytes: &[u8], block_size: usize, blocks: Range<u64>) -> Vec<Vec<u8>> {
    let block = |number: u64| {
        let start = (usize::try_from(number).unwrap() - 1) * block_size;
        let data = &bytes[start.min(bytes.len())..(start + block_size).min(bytes.len())];
        let [.., high, low] = number.to_be_bytes();
        [&[0, 3, high, low], data].concat()
    };
    blocks.map(block).collect()
}

#[test]
fn the_largest_window_of_the_largest_blocks_arrives() {
    let file = bytes(1468 * 64);
    for segments in [true, false] {
        let content = Content::from(file.clone());
        assert!(heard(content, 1468, 1..65, segments) == expected(&file, 1468, 1..65));
    }
}

#[test]
fn a_file_of_whole_blocks_ends_with_an_empty_one() {
    let file = bytes(512 * 3);
    for segments in [true, false] {
        let content = Content::from(file.clone());
        assert_eq!(heard(content, 512, 2..5, segments), expected(&file, 512, 2..5));
    }
}

#[test]
fn a_file_that_became_shorter_is_told_and_not_made_up() {
    let Content::Disk { file, .. } = on_disk(&bytes(1000)) else {
        unreachable!("it lies on the disk")
    };
    let (_client, address) = client();
    let (transfer, _) = Transfer::start(5000, &Options::default(), Duration::ZERO);
    let mut connection = Connection::open(LOOPBACK, address, Content::Disk { file, size: 5000 }).unwrap();
    let sent = connection.send_blocks(&transfer, 1..9, &mut Scratch::new());
    assert!(matches!(sent, Err(Unsent::Unreadable(_))));
}

#[test]
fn a_client_whose_port_is_closed_is_gone() {
    let (client, address) = client();
    let connection = Connection::open(LOOPBACK, address, Content::from(vec![])).unwrap();
    drop(client);
    let sends = [connection.send(b"one"), connection.send(b"two")];
    let received = connection.receive(&mut [0; 10]);
    let heard_of_it = sends.iter().any(|sent| matches!(sent, Err(Unsent::Gone)));
    assert!(heard_of_it || received.is_err_and(|error| is_gone(&error)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_block_is_the_same_from_memory_from_disk_and_in_segments(
        size in 0..40_000usize, block_size in 8..1468u16, first in 0..60u64, count in 1..=64u64,
    ) {
        let file = bytes(size);
        let last = (size / usize::from(block_size)) as u64 + 1;
        let first = first % last + 1;
        let blocks = first..(first + count).min(last + 1);
        let right = expected(&file, block_size.into(), blocks.clone());
        for segments in [true, false] {
            prop_assert_eq!(&heard(Content::from(file.clone()), block_size, blocks.clone(), segments), &right);
            prop_assert_eq!(&heard(on_disk(&file), block_size, blocks.clone(), segments), &right);
        }
    }
}
