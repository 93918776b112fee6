//! Quantities as people write them: bytes, durations, counts.

use std::fmt;
use std::time::Duration;

/// A number of bytes, printed in the largest binary unit that keeps it above one (`32.0 MiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

/// Reads a number of bytes: digits, then nothing or one of `B KB KiB K MB MiB M GB GiB G` (decimal units are powers of 1000,
/// binary ones and single letters of 1024).
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<f64>().ok()?, text[digits..].trim());
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    (bytes.is_finite() && bytes < 9e18).then_some(bytes as u64)
}

/// A duration as `1.2 s`, `3 min 04 s`, `2 h 05 min` or `12 ms`.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let whole = self.0.as_secs();
        if seconds < 1.0 {
            write!(f, "{} ms", self.0.as_millis())
        } else if whole < 60 {
            write!(f, "{seconds:.1} s")
        } else if whole < 3600 {
            write!(f, "{} min {:02} s", whole / 60, whole % 60)
        } else {
            write!(f, "{} h {:02} min", whole / 3600, whole % 3600 / 60)
        }
    }
}

/// A count with thin groups of three: `1 234 567`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(' ');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A count of things, by the name of one of them: `1 document`, `1 234 documents`.
#[derive(Clone, Copy, Debug)]
pub struct Counted(pub u64, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", Count(self.0), self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_and_printed() {
        assert_eq!(parse_bytes("32 MiB"), Some(32 * MIB));
        assert_eq!(parse_bytes("1.5k"), Some(1536));
        assert_eq!(parse_bytes("10MB"), Some(10_000_000));
        assert_eq!(parse_bytes("ten"), None);
        assert_eq!(Bytes(32 * MIB).to_string(), "32.0 MiB");
        assert_eq!(Bytes(17).to_string(), "17 B");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(Count(1_234_567).to_string(), "1 234 567");
        assert_eq!(Count(12).to_string(), "12");
        let counted = [0, 1, 2_000].map(|count| Counted(count, "document").to_string());
        assert_eq!(counted, ["0 documents", "1 document", "2 000 documents"]);
    }
}
