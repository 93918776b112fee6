//! Plain runs of strings: how far is it to the next byte that needs a look?
//!
//! Three things end a plain run: a quote, a backslash, a control character. Where the processor compares sixteen bytes at once
//! they are found so; elsewhere in words of eight bytes with the classic has-zero-byte arithmetic, in which a borrow can only
//! disturb bytes *above* the first hit, so that the lowest set bit is exact.

/// The place of the first byte at or behind `at` that ends a plain run, or the end of the text.
#[inline(always)]
pub(super) fn end(text: &[u8], at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    let mut at = sixteen::pass(text, at);
    #[cfg(not(target_arch = "x86_64"))]
    let mut at = eight::pass(text, at);
    while text.get(at).is_some_and(|byte| !ends(*byte)) {
        at += 1;
    }
    at
}

#[inline(always)]
fn ends(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Sixteen bytes at a time, with what every x86-64 processor has.
#[cfg(target_arch = "x86_64")]
mod sixteen {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };

    /// Passes plain bytes until one ends the run or fewer than sixteen are left.
    #[inline(always)]
    pub(super) fn pass(text: &[u8], mut at: usize) -> usize {
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk) {
            #[expect(unsafe_code, reason = "SSE2 is part of every x86-64 processor")]
            let hits = unsafe { hits(bytes) };
            if hits != 0 {
                return at + hits.trailing_zeros() as usize;
            }
            at += 16;
        }
        at
    }

    /// One bit for each byte that ends a plain run.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn hits(bytes: &[u8; 16]) -> u32 {
        let word = u128::from_le_bytes(*bytes);
        let text = _mm_set_epi64x((word >> 64) as i64, word as i64);
        let quote = _mm_cmpeq_epi8(text, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(text, _mm_set1_epi8(b'\\' as i8));
        // There is no unsigned comparison; the smaller of a control character and the last of them is the former.
        let control = _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(0x1f)), text);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
    }
}

/// Eight bytes at a time, with arithmetic alone.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod eight {
    /// A byte in every place of a word.
    const fn every(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }

    /// Passes plain bytes until one ends the run or fewer than eight are left.
    #[inline(always)]
    pub(super) fn pass(text: &[u8], mut at: usize) -> usize {
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*bytes);
            let (quote, backslash) = (word ^ every(b'"'), word ^ every(b'\\'));
            let control = word.wrapping_sub(every(0x20)) & !word;
            let hits = (quote.wrapping_sub(every(1)) & !quote)
                | (backslash.wrapping_sub(every(1)) & !backslash)
                | control;
            let hits = hits & every(0x80);
            if hits != 0 {
                return at + hits.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first_byte_that_ends_a_run(
            text in prop::collection::vec(prop_oneof![9 => 0x5d_u8..=0xff, 1 => any::<u8>()], 0..80),
            at in 0..80_usize,
        ) {
            let at = at.min(text.len());
            let expected = (at..text.len()).find(|place| ends(text[*place])).unwrap_or(text.len());
            prop_assert_eq!(end(&text, at), expected);
            let passed = eight::pass(&text, at);
            prop_assert!(passed == expected || passed < expected && text.len() - passed < 8);
        }
    }
}
