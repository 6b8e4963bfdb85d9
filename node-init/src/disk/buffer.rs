// SPDX-License-Identifier: Apache-2.0
//! Memory that the kernel takes for direct I/O.

/// Direct I/O wants buffers at multiples of the disk's logical sector; a page covers every disk there is.
const ALIGNMENT: usize = 4096;

/// A buffer whose first byte lies on a page boundary.
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// `length` zeros.
    pub fn zeroed(length: usize) -> Self {
        let memory = vec![0_u8; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, length }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_lies_on_a_page_and_has_the_length_asked_for() {
        for length in [512, 4096, 4 << 20] {
            let buffer = Aligned::zeroed(length);
            assert_eq!((buffer.as_ptr() as usize % ALIGNMENT, buffer.len()), (0, length));
        }
    }
}
