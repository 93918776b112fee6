//! Runs of bytes that need no look: how far do they go?
//!
//! Inside a string three things end a run: a quote, a backslash, a control character. Inside a number everything but a digit does. Where the
//! processor compares sixteen bytes at once the end is found so; elsewhere in words of eight bytes with the classic
//! has-zero-byte arithmetic, in which a borrow can only disturb bytes *above* the first hit, so that the lowest set bit is exact.

#[cfg(not(target_arch = "x86_64"))]
use eight as wide;
#[cfg(target_arch = "x86_64")]
use sixteen as wide;

/// The place of the first byte at or behind `at` that ends a plain run of a string, or the end of the text.
#[inline(always)]
pub(super) fn string_end(text: &[u8], at: usize) -> usize {
    match wide::string_end(text, at) {
        Ok(end) => end,
        Err(at) => rest_end(text, at, |byte| byte == b'"' || byte == b'\\' || byte < 0x20),
    }
}

/// The place of the first byte at or behind `at` that is no digit, or the end of the text.
#[inline(always)]
pub(super) fn digits_end(text: &[u8], at: usize) -> usize {
    match wide::digits_end(text, at) {
        Ok(end) => end,
        Err(at) => rest_end(text, at, |byte| !byte.is_ascii_digit()),
    }
}

/// The last few bytes, one by one.
fn rest_end(text: &[u8], at: usize, ends: impl Fn(u8) -> bool) -> usize {
    text[at..].iter().position(|byte| ends(*byte)).map_or(text.len(), |length| at + length)
}

/// Sixteen bytes at a time, with what every x86-64 processor has. `Err` is where fewer are left.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "SSE2 is part of every x86-64 processor")]
mod sixteen {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    #[inline(always)]
    pub(super) fn string_end(text: &[u8], at: usize) -> Result<usize, usize> {
        end(text, at, |bytes| unsafe { not_plain(bytes) })
    }

    #[inline(always)]
    pub(super) fn digits_end(text: &[u8], at: usize) -> Result<usize, usize> {
        end(text, at, |bytes| unsafe { no_digits(bytes) })
    }

    /// `hits` has a bit for each byte that ends the run.
    #[inline(always)]
    fn end(text: &[u8], mut at: usize, hits: impl Fn(&[u8; 16]) -> i32) -> Result<usize, usize> {
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk) {
            let hits = hits(bytes);
            if hits != 0 {
                return Ok(at + hits.trailing_zeros() as usize);
            }
            at += 16;
        }
        Err(at)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        let word = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((word >> 64) as i64, word as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn not_plain(bytes: &[u8; 16]) -> i32 {
        let text = load(bytes);
        let quote = _mm_cmpeq_epi8(text, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(text, _mm_set1_epi8(b'\\' as i8));
        // There is no unsigned comparison; the smaller of a control character and the last of them is the former.
        let control = _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(0x1f)), text);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn no_digits(bytes: &[u8; 16]) -> i32 {
        // Zero to nine become 0 to 9; what is less wraps around.
        let text = _mm_sub_epi8(load(bytes), _mm_set1_epi8(b'0' as i8));
        _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(9)), text)) ^ 0xffff
    }
}

/// Eight bytes at a time, with arithmetic alone. `Err` is where fewer are left.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod eight {
    /// A byte in every place of a word.
    const fn every(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }

    #[inline(always)]
    pub(super) fn string_end(text: &[u8], at: usize) -> Result<usize, usize> {
        end(text, at, |word| {
            let (quote, backslash) = (word ^ every(b'"'), word ^ every(b'\\'));
            (quote.wrapping_sub(every(1)) & !quote)
                | (backslash.wrapping_sub(every(1)) & !backslash)
                | (word.wrapping_sub(every(0x20)) & !word)
        })
    }

    #[inline(always)]
    pub(super) fn digits_end(text: &[u8], at: usize) -> Result<usize, usize> {
        end(text, at, |word| {
            // A digit is 0x30 to 0x39: its high half is 3, and stays 3 when six is added. Nothing is carried into the next byte, as
            // bytes beyond ASCII are told by their top bit.
            let low = word & every(0x7f);
            let high = |word: u64| (word & every(0xf0)) ^ every(0x30);
            let differs = (word & every(0x80)) | high(low) | high(low + every(6));
            // Any set bit of a byte moves to its top.
            ((differs & every(0x70)) + every(0x70)) | differs
        })
    }

    /// `hits` has the top bit set of each byte that ends the run.
    #[inline(always)]
    fn end(text: &[u8], mut at: usize, hits: impl Fn(u64) -> u64) -> Result<usize, usize> {
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk) {
            let hits = hits(u64::from_le_bytes(*bytes)) & every(0x80);
            if hits != 0 {
                return Ok(at + hits.trailing_zeros() as usize / 8);
            }
            at += 8;
        }
        Err(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(text: &[u8], at: usize, expected: usize, found: Result<usize, usize>) -> bool {
        match found {
            Ok(end) => end == expected,
            Err(rest) => at <= rest && rest <= expected && text.len() - rest < 8,
        }
    }

    proptest! {
        #[test]
        fn finds_what_ends_a_run_of_a_string(
            text in prop::collection::vec(prop_oneof![9 => 0x5d_u8..=0xff, 1 => any::<u8>()], 0..80), at in 0..80_usize,
        ) {
            let at = at.min(text.len());
            let ends = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
            let expected = (at..text.len()).find(|place| ends(text[*place])).unwrap_or(text.len());
            prop_assert_eq!(string_end(&text, at), expected);
            prop_assert!(same(&text, at, expected, eight::string_end(&text, at)));
        }

        #[test]
        fn finds_what_ends_a_run_of_digits(
            text in prop::collection::vec(prop_oneof![9 => b'0'..=b'9', 1 => any::<u8>()], 0..80), at in 0..80_usize,
        ) {
            let at = at.min(text.len());
            let expected = (at..text.len()).find(|place| !text[*place].is_ascii_digit()).unwrap_or(text.len());
            prop_assert_eq!(digits_end(&text, at), expected);
            prop_assert!(same(&text, at, expected, eight::digits_end(&text, at)));
        }
    }
}
