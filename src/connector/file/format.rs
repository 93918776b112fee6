//! How documents lie in a file: its layout and its compression, said by a setting, by the name, or by the first bytes.
//!
//! A setting wins over the name, and the name over the content, because the first two are visible to whoever reads the
//! command line. Content decides only where both are silent.

use crate::connector::file::split::BYTE_ORDER_MARK;

/// How documents follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One document a line.
    Lines,
    /// The elements of one JSON array.
    Array,
}

/// How the bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// zstd, of one or more frames.
    Zstd,
}

/// The words of the setting `format`; `None` leaves it to the file.
pub(super) const FORMATS: &[(&str, Option<Format>)] =
    &[("auto", None), ("json-lines", Some(Format::Lines)), ("json-array", Some(Format::Array))];

/// The words of the setting `compression`; `None` leaves it to the file.
pub(super) const COMPRESSIONS: &[(&str, Option<Compression>)] = &[
    ("auto", None),
    ("none", Some(Compression::None)),
    ("gzip", Some(Compression::Gzip)),
    ("zstd", Some(Compression::Zstd)),
];

impl Format {
    /// The word of the setting.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Format::Lines => "json-lines",
            Format::Array => "json-array",
        }
    }

    /// What a name says: `.jsonl` and `.ndjson` are lines, under a compression's extension too.
    pub(super) fn of_source_name(name: &str) -> Option<Format> {
        let inner = uncompressed_name(name);
        (has_extension(inner, "jsonl") || has_extension(inner, "ndjson")).then_some(Format::Lines)
    }

    /// What is written under a name: `.json` is an array, everything else is lines.
    pub(super) fn of_target_name(name: &str) -> Format {
        if has_extension(uncompressed_name(name), "json") { Format::Array } else { Format::Lines }
    }

    /// What the first bytes say: a bracket begins an array, everything else is lines.
    pub(super) fn of_bytes(head: &[u8]) -> Format {
        let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
        match text.iter().find(|byte| !is_white(**byte)) {
            Some(b'[') => Format::Array,
            _ => Format::Lines,
        }
    }
}

impl Compression {
    /// The word of the setting.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }

    /// What a name says.
    pub(super) fn of_name(name: &str) -> Option<Compression> {
        if has_extension(name, "gz") {
            Some(Compression::Gzip)
        } else if has_extension(name, "zst") {
            Some(Compression::Zstd)
        } else {
            None
        }
    }

    /// What the first bytes say: both formats begin with a number that no JSON text can begin with.
    pub(super) fn of_bytes(head: &[u8]) -> Compression {
        if head.starts_with(&[0x1f, 0x8b]) {
            Compression::Gzip
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Compression::Zstd
        } else {
            Compression::None
        }
    }
}

/// White space as JSON knows it.
#[inline(always)]
pub(super) fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The name without the extension of a compression.
fn uncompressed_name(name: &str) -> &str {
    match (Compression::of_name(name), name.rfind('.')) {
        (Some(_), Some(dot)) => &name[..dot],
        _ => name,
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_speak_through_a_compression_extension() {
        assert_eq!(Format::of_source_name("a/b.JSONL.gz"), Some(Format::Lines));
        assert_eq!(Format::of_source_name("b.json.zst"), None);
        assert_eq!(Format::of_target_name("b.json.zst"), Format::Array);
        assert_eq!(Format::of_target_name("jsonl"), Format::Lines);
        assert_eq!(Compression::of_name("b.json.zst"), Some(Compression::Zstd));
        assert_eq!(Compression::of_name("zst"), None);
    }

    #[test]
    fn first_bytes_speak_behind_a_byte_order_mark_and_white_space() {
        assert_eq!(Format::of_bytes(b"\xef\xbb\xbf\n [1"), Format::Array);
        assert_eq!(Format::of_bytes(b"{}"), Format::Lines);
        assert_eq!(Format::of_bytes(b""), Format::Lines);
        assert_eq!(Compression::of_bytes(b"\x1f\x8b\x08"), Compression::Gzip);
        assert_eq!(Compression::of_bytes(b"{}"), Compression::None);
    }
}
