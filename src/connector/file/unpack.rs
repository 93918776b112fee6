//! Decompression that loses nothing before damage.
//!
//! The decoders of the libraries, as streams, answer a call with bytes or with an error, and drop what they had decoded in the call
//! that met the error. Here the two are told apart: bytes first, the error with the next call. Two properties of the libraries
//! make that possible. Inflate says how much it has written also when it fails. A zstd decoder does not, but it says how much it
//! wants to read to the end of the block that it is in: given no more than that, it never fails in a call that has written something.

use crate::connector::file::format::Compression;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::{self, BufRead, Read};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

/// The window of every gzip stream, as a power of two.
const GZIP_WINDOW: u8 = 15;

/// A frame of zstd begins with its magic number and a byte that says how long the header is.
const ZSTD_BEGINNING: usize = 5;

/// A block of zstd begins with so many bytes; a decoder asks for them together with the block before.
const ZSTD_BLOCK_HEADER: usize = 3;

/// The uncompressed bytes of a packed stream of one or more members (gzip) or frames (zstd).
pub(super) struct Unpacked<R> {
    stored: R,
    decoder: Decoder,
    /// The decoder has given all that it could make of what it was shown.
    is_drained: bool,
    /// Nothing, or nothing but whole members, was shown to it.
    is_between: bool,
    /// A whole member has been given.
    has_member: bool,
    /// What follows is padding.
    is_padding: bool,
    /// What is wrong with the rest.
    damage: Option<String>,
}

enum Decoder {
    Gzip(Decompress),
    Zstd {
        decoder: ZstdDecoder<'static>,
        /// How much it may be shown at once.
        most: usize,
    },
}

/// What a decoder did with what it was shown.
struct Step {
    taken: usize,
    given: usize,
    /// Whether a member has ended; or what is wrong.
    end: Result<bool, String>,
}

impl<R: BufRead> Unpacked<R> {
    /// Unpacks `stored`, which is packed.
    pub(super) fn new(stored: R, compression: Compression) -> io::Result<Self> {
        let decoder = match compression {
            Compression::Zstd => Decoder::Zstd { decoder: ZstdDecoder::new()?, most: ZSTD_BEGINNING },
            _ => Decoder::Gzip(Decompress::new_gzip(GZIP_WINDOW)),
        };
        Ok(Self {
            stored,
            decoder,
            is_drained: true,
            is_between: true,
            has_member: false,
            is_padding: false,
            damage: None,
        })
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(damage) = &self.damage {
                return Err(io::Error::new(io::ErrorKind::InvalidData, damage.clone()));
            }
            let shown = if self.is_drained { self.stored.fill_buf()? } else { &[] };
            if self.is_drained && shown.is_empty() {
                if self.is_between {
                    return Ok(0);
                }
                self.damage = Some("it ends too early".to_owned());
                continue;
            }
            if self.is_padding || self.has_member && self.is_between && self.decoder.is_padding(shown) {
                self.is_padding = true;
                let length = shown.len();
                if shown.iter().any(|byte| *byte != 0) {
                    self.damage = Some("something stands behind the zeros after its end".to_owned());
                }
                self.stored.consume(length);
                continue;
            }
            let Step { taken, given, end } = self.decoder.step(shown, into);
            self.stored.consume(taken);
            self.is_drained = given < into.len();
            self.is_between &= taken == 0;
            match end {
                Ok(true) => (self.is_drained, self.is_between, self.has_member) = (true, true, true),
                Ok(false) => {}
                Err(damage) => self.damage = Some(damage),
            }
            if given > 0 {
                return Ok(given);
            }
        }
    }
}

impl Decoder {
    /// Whether what follows a member is no other one but padding to the end of a block of some medium: gzip(1) passes over zeros.
    fn is_padding(&self, shown: &[u8]) -> bool {
        matches!(self, Decoder::Gzip(_)) && shown.first() == Some(&0)
    }

    fn step(&mut self, shown: &[u8], into: &mut [u8]) -> Step {
        match self {
            Decoder::Gzip(inflate) => {
                let before = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(shown, into, FlushDecompress::None);
                let taken = (inflate.total_in() - before.0) as usize;
                let given = (inflate.total_out() - before.1) as usize;
                let end = status.map(|status| status == Status::StreamEnd).map_err(|cause| cause.to_string());
                if end == Ok(true) {
                    *inflate = Decompress::new_gzip(GZIP_WINDOW);
                }
                Step { taken, given, end }
            }
            Decoder::Zstd { decoder, most } => {
                let mut shown = InBuffer::around(&shown[..shown.len().min(*most)]);
                let mut into = OutBuffer::around(into);
                let wanted = decoder.run(&mut shown, &mut into);
                let (taken, given) = (shown.pos(), into.pos());
                let end = match wanted {
                    Ok(0) => decoder.reinit().map(|()| true),
                    Ok(_) => Ok(false),
                    Err(ref cause) => Err(io::Error::other(cause.to_string())),
                };
                *most = match wanted {
                    Ok(0) | Err(_) => ZSTD_BEGINNING,
                    Ok(wanted) if wanted > ZSTD_BLOCK_HEADER => wanted - ZSTD_BLOCK_HEADER,
                    Ok(wanted) => wanted,
                };
                Step { taken, given, end: end.map_err(|cause| cause.to_string()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::file::frames::compress;
    use proptest::prelude::*;

    /// Lines that compress, but not to nothing.
    fn text(lines: u64) -> Vec<u8> {
        (0..lines)
            .map(|n| format!("{{\"id\":{n},\"x\":{}}}\n", n * n * 7919 % 1_000_003))
            .collect::<String>()
            .into()
    }

    fn packed(plain: &[u8], compression: Compression) -> Vec<u8> {
        match compression {
            // In one frame of many blocks, whose end no frame is needed to reach.
            Compression::Zstd => zstd::encode_all(plain, 3).unwrap(),
            _ => compress(plain, compression, 6).unwrap().concat(),
        }
    }

    /// What can be read, in pieces of `piece`, and whether that is all.
    fn unpack(packed: &[u8], compression: Compression, piece: usize) -> (Vec<u8>, bool) {
        let stored = io::BufReader::with_capacity(64 * 1024, packed);
        let mut stream = Unpacked::new(stored, compression).unwrap();
        let (mut out, mut into) = (Vec::new(), vec![0; piece]);
        loop {
            match stream.read(&mut into) {
                Ok(0) => return (out, true),
                Ok(read) => out.extend_from_slice(&into[..read]),
                Err(cause) => {
                    assert_eq!(stream.read(&mut into).unwrap_err().kind(), cause.kind(), "and it stays so");
                    return (out, false);
                }
            }
        }
    }

    /// The same by the libraries, byte for byte: nothing can be lost with a call that gets one byte and fails.
    fn byte_for_byte(packed: &[u8], compression: Compression) -> Vec<u8> {
        let (mut out, mut into) = (Vec::new(), vec![0; 1 << 20]);
        let mut inflate = Decompress::new_gzip(15);
        let mut zstd = ZstdDecoder::new().unwrap();
        for byte in packed.chunks(1) {
            if compression == Compression::Zstd {
                let (mut from, mut to) = (InBuffer::around(byte), OutBuffer::around(&mut into));
                let Ok(wanted) = zstd.run(&mut from, &mut to) else { break };
                out.extend_from_slice(to.as_slice());
                if wanted == 0 {
                    zstd.reinit().unwrap();
                }
                continue;
            }
            let before = inflate.total_out();
            let status = inflate.decompress(byte, &mut into, FlushDecompress::None);
            out.extend_from_slice(&into[..(inflate.total_out() - before) as usize]);
            match status {
                Ok(Status::StreamEnd) => inflate = Decompress::new_gzip(15),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        out
    }

    #[test]
    fn what_is_whole_is_read_whole() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            // More than a frame, and nothing at all.
            for plain in [text(40_000), Vec::new()] {
                for piece in [1 << 20, 777] {
                    let packed =
                        [packed(&plain, compression), compress(&plain, compression, 1).unwrap().concat()];
                    let (out, is_all) = unpack(&packed.concat(), compression, piece);
                    assert!(is_all && out == plain.repeat(2), "{compression:?} {piece}");
                }
            }
        }
    }

    #[test]
    fn zeros_behind_a_gzip_stream_are_padding() {
        let plain = text(100);
        let mut padded = packed(&plain, Compression::Gzip);
        padded.extend_from_slice(&[0; 100_000]);
        assert_eq!(unpack(&padded, Compression::Gzip, 4096), (plain.clone(), true));
        padded.push(1);
        assert_eq!(unpack(&padded, Compression::Gzip, 4096), (plain, false));
        assert_eq!(unpack(&[0; 10], Compression::Gzip, 4096), (Vec::new(), false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn all_before_damage_is_read(at: prop::sample::Index, flip in 1..=255u8, cut: bool, zstd: bool, piece in 1..400_000usize) {
            let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
            let mut packed = packed(&text(20_000), compression);
            let at = at.index(packed.len());
            if cut {
                packed.truncate(at);
            } else {
                packed[at] ^= flip;
            }
            let (out, is_all) = unpack(&packed, compression, piece);
            prop_assert!(!cut || !is_all || at == 0);
            let expected = byte_for_byte(&packed, compression);
            prop_assert!(out == expected, "{} bytes instead of {}", out.len(), expected.len());
        }
    }
}
