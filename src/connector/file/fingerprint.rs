//! What tells a file from a changed one without reading all of it: its length, and a hash of its first and last 64 KiB.
//!
//! A change in the middle that keeps the length goes unnoticed; an extended, cut or replaced file does not. The same hash
//! over a file's first bytes proves that a target still begins with what was written to it.

use std::io::{self, Read, Seek, SeekFrom};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes looked at, at each end.
const END: u64 = 64 * 1024;

/// The hash of the first `length` bytes of a file.
pub(super) fn fingerprint(file: &mut (impl Read + Seek), length: u64) -> io::Result<String> {
    let size = length.min(END);
    let mut ends = Vec::with_capacity(2 * size as usize);
    for start in [0, length - size] {
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(size).read_to_end(&mut ends)?;
    }
    if ends.len() as u64 != 2 * size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(format!("{:016x}", xxh3_64(&ends)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn both_ends_count_and_what_follows_the_length_does_not() {
        let mut bytes = vec![7; 300_000];
        let hash = |bytes: &[u8], length| fingerprint(&mut Cursor::new(bytes), length).unwrap();
        let before = hash(&bytes, 200_000);
        bytes[250_000] = 8;
        assert_eq!(hash(&bytes, 200_000), before);
        bytes[199_999] = 8;
        assert_ne!(hash(&bytes, 200_000), before);
        assert!(fingerprint(&mut Cursor::new(&bytes), 300_001).is_err());
    }
}
