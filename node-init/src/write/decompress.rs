// SPDX-License-Identifier: Apache-2.0
//! One zstd frame into one buffer.

use zstd::bulk::Decompressor;

use super::Trouble;

/// A decompressor that keeps its tables from chunk to chunk.
pub(super) struct Frames(Decompressor<'static>);

impl Frames {
    pub(super) fn new() -> Result<Self, Trouble> {
        // No memory for zstd's tables is not the image's fault, but the node's end all the same.
        Decompressor::new()
            .map(Self)
            .map_err(|e| Trouble::Corrupt(format!("zstd: {e}")))
    }

    /// Fills `into` exactly. A frame that holds more fails at the buffer's end: nothing is ever allocated for it.
    pub(super) fn fill(&mut self, compressed: &[u8], into: &mut [u8]) -> Result<(), String> {
        match self.0.decompress_to_buffer(compressed, into) {
            Ok(length) if length == into.len() => Ok(()),
            Ok(length) => Err(format!("{length} bytes inside instead of {}", into.len())),
            Err(error) => Err(format!("zstd: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_that_swells_is_stopped_at_the_end_of_its_buffer() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        assert!(Frames::new().unwrap().fill(&bomb, &mut vec![0; 4 << 20]).is_err());
    }

    proptest! {
        #[test]
        fn no_frame_is_too_hostile_to_refuse(garbage in prop::collection::vec(any::<u8>(), 0..500), magic in any::<bool>()) {
            let mut frame = if magic { vec![0x28, 0xB5, 0x2F, 0xFD] } else { Vec::new() };
            frame.extend(garbage);
            let _ = Frames::new().unwrap().fill(&frame, &mut [0; 1000]);
        }
    }
}
