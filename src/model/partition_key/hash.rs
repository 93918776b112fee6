//! MurmurHash3 by Austin Appleby (public domain), the x64 form of 128 bits and the form of 32 bits, with seed zero.

/// The hash of 128 bits: its low and its high half.
pub(super) fn murmur_128(bytes: &[u8]) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let (mut low, mut high) = (0u64, 0u64);
    let blocks = bytes.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        let (first, second) = halves(block);
        low ^= first.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
        low = low.rotate_left(27).wrapping_add(high).wrapping_mul(5).wrapping_add(0x52dc_e729);
        high ^= second.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
        high = high.rotate_left(31).wrapping_add(low).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    // Behind the last whole block zeros change nothing: zero times a constant is zero.
    let mut padded = [0; 16];
    padded[..tail.len()].copy_from_slice(tail);
    let (first, second) = halves(&padded);
    high ^= second.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    low ^= first.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    low ^= bytes.len() as u64;
    high ^= bytes.len() as u64;
    low = low.wrapping_add(high);
    high = high.wrapping_add(low);
    low = finish_64(low);
    high = finish_64(high);
    low = low.wrapping_add(high);
    high = high.wrapping_add(low);
    (low, high)
}

fn halves(block: &[u8]) -> (u64, u64) {
    let word = |at: usize| block[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    (word(0), word(8))
}

fn finish_64(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// The hash of 32 bits.
pub(super) fn murmur_32(bytes: &[u8]) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let word = |block: &[u8]| block.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let blocks = bytes.chunks_exact(4);
    let tail = blocks.remainder();
    let mut hash = 0u32;
    for block in blocks {
        hash = (hash ^ mix(word(block))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    hash ^= mix(word(tail));
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that other implementations give too.
    #[test]
    fn known_hashes() {
        assert_eq!(murmur_32(b""), 0);
        assert_eq!(murmur_32(b"hello"), 0x248b_fa47);
        assert_eq!(murmur_32(b"The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
        assert_eq!(murmur_128(b""), (0, 0));
        assert_eq!(murmur_128(b"hello"), (0xcbd8_a7b3_41bd_9b02, 0x5b1e_906a_48ae_1d19));
        let fox = murmur_128(b"The quick brown fox jumps over the lazy dog");
        assert_eq!(fox, (0xe34b_bc7b_bc07_1b6c, 0x7a43_3ca9_c49a_9347));
    }
}
