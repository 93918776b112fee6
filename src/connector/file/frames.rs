//! Compression in pieces that do not depend on how documents arrived.
//!
//! A compressor that is fed request by request, and begun anew by every resume, would write other bytes each time. So the
//! uncompressed stream is cut at fixed offsets and each piece becomes a frame of its own (a gzip member, a zstd frame),
//! which every decoder reads one after the other. Frames know nothing of each other: they are compressed on all cores, and a
//! resume needs only the piece that is not complete yet.

use crate::connector::file::format::Compression;
use flate2::write::GzEncoder;
use rayon::prelude::*;
use std::io::{self, Write};

/// Uncompressed bytes in a frame. Of every part that is being written, one a reader, the incomplete one is held in memory and noted in
/// every checkpoint, once a second: of thirty parts 15 MiB. Smaller ones would pack worse; 512 KiB is sixteen windows of gzip, so little
/// is lost by beginning anew after so many.
pub(super) const FRAME: usize = 512 * 1024;

/// Frames compressed at once: enough for the cores of most machines, and 4 MiB of memory.
pub(super) const FRAMES_AT_ONCE: usize = 8;

/// Compresses `bytes`, cut at multiples of [`FRAME`]; nothing at all becomes one empty frame.
pub(super) fn compress(bytes: &[u8], compression: Compression, level: u32) -> io::Result<Vec<Vec<u8>>> {
    if bytes.is_empty() {
        return Ok(vec![frame(bytes, compression, level)?]);
    }
    bytes.par_chunks(FRAME).map(|piece| frame(piece, compression, level)).collect()
}

fn frame(piece: &[u8], compression: Compression, level: u32) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(piece.to_vec()),
        Compression::Gzip => {
            // JSON shrinks to a fifth or less.
            let packed = Vec::with_capacity(piece.len() / 4);
            let mut encoder = GzEncoder::new(packed, flate2::Compression::new(level));
            encoder.write_all(piece)?;
            encoder.finish()
        }
        Compression::Zstd => {
            let mut compressor = zstd::bulk::Compressor::new(level as i32)?;
            // As the command-line tool does: damage shall be seen, not decoded.
            compressor.include_checksum(true)?;
            compressor.compress(piece)
        }
    }
}
