//! The shape of a document: everything but its values.
//!
//! Documents of one collection have the same names in the same order with the same punctuation; what differs are the values.
//! So what stands before each value of a document is kept, and of the next document it only has to be compared, a word at
//! a time. That proves as much as scanning it would: where a value stood another value may stand, and the text between two
//! values was once accepted in the same surroundings. Values are always scanned.
//!
//! Two levels are told apart. Before each top-level value stands a *lead* (`{"a":`, `,"b":`). An object in the place of such a value has an
//! *inside*: `{"x":`, `,"y":{"z":`, `}}`. Where only an inside differs, the top level still fits. An array counts as
//! one value, since its length differs from document to document.

use crate::model::json::scan::{Field, Fit, Scanner};

/// A longer shape is not kept: every worker has one, and what is so long is rarely repeated.
const LONGEST: usize = 64 * 1024;

/// A shape that fits nobody is learned anew after at most this many documents; where every document is different that bounds the waste.
const MOST_PATIENCE: u32 = 63;

/// What the last documents had in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// Zero: none is known.
    number: u64,
    /// The last number that was given.
    given: u64,
    text: Vec<u8>,
    leads: Vec<Lead>,
    /// The insides of all leads, one after the other.
    insides: Vec<Stretch>,
    /// Documents that do not fit and are met before another one is learned.
    wait: u32,
    /// The next `wait`: longer while what was learned is of no use, shorter while it is.
    patience: u32,
}

/// A piece of the shape's text, with its first sixteen bytes at hand: most pieces are no longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    start: usize,
    end: usize,
    head: u128,
    /// The bits of `head` that count.
    mask: u128,
}

impl Piece {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// What stands before a top-level value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    pub(super) text: Piece,
    /// Where the name lies in it, without quotes.
    pub(super) name_start: usize,
    pub(super) name_end: usize,
    /// The name holds a backslash.
    pub(super) escaped: bool,
    /// Its inside: none unless the value was an object.
    first_inside: usize,
    end_inside: usize,
}

/// Names and punctuation inside a top-level value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) text: Piece,
    /// Objects that are open behind it, the outermost not counted. A value follows unless it is zero.
    pub(super) depth: usize,
}

impl Shape {
    #[inline(always)]
    pub(super) fn leads(&self) -> &[Lead] {
        &self.leads
    }

    /// What stood inside the value behind `lead`.
    #[inline(always)]
    pub(super) fn inside(&self, lead: &Lead) -> &[Stretch] {
        &self.insides[lead.first_inside..lead.end_inside]
    }

    /// Whether `piece` stands at `at` of a document.
    #[inline(always)]
    pub(super) fn stands(&self, piece: &Piece, bytes: &[u8], at: usize) -> bool {
        let Some(found) = bytes.get(at..).and_then(<[u8]>::first_chunk) else {
            return bytes[at..].starts_with(&self.text[piece.start..piece.end]);
        };
        let is_alike = (u128::from_le_bytes(*found) ^ piece.head) & piece.mask == 0;
        is_alike && (piece.len() <= 16 || bytes[at..].starts_with(&self.text[piece.start..piece.end]))
    }

    /// Takes note of how a document compared, and learns its shape if that is promising. Returns the number of its shape.
    #[inline(always)]
    pub(super) fn met(&mut self, fit: Fit, bytes: &[u8], fields: &[Field]) -> u64 {
        match fit {
            Fit::Whole => {
                self.patience = self.patience.saturating_sub(1);
                self.number
            }
            _ => self.missed(fit, bytes, fields),
        }
    }

    fn missed(&mut self, fit: Fit, bytes: &[u8], fields: &[Field]) -> u64 {
        let known = if fit == Fit::TopLevel { self.number } else { 0 };
        if self.wait > 0 {
            self.wait -= 1;
            return known;
        }
        self.wait = self.patience;
        self.patience = (2 * self.patience + 1).min(MOST_PATIENCE);
        if !self.learn(bytes, fields) {
            self.forget();
        } else if known > 0 {
            self.number = known;
        } else {
            self.given += 1;
            self.number = self.given;
        }
        self.number
    }

    fn forget(&mut self) {
        self.number = 0;
        self.text = Vec::new();
        self.leads = Vec::new();
        self.insides = Vec::new();
    }

    /// False: it is too long, and was not learned to its end.
    fn learn(&mut self, bytes: &[u8], fields: &[Field]) -> bool {
        self.text.clear();
        self.leads.clear();
        self.insides.clear();
        let mut from = 0;
        for field in fields {
            let (name_start, name_end) = (field.name_start as usize, field.name_end as usize);
            let (value_start, value_end) = (field.value_start as usize, field.value_end as usize);
            let first_inside = self.insides.len();
            let text = self.keep(&bytes[from..value_start]);
            if bytes[value_start] == b'{' {
                self.learn_inside(&bytes[..value_end], value_start);
            }
            if self.text.len() > LONGEST {
                return false;
            }
            self.leads.push(Lead {
                text,
                name_start: name_start - from,
                name_end: name_end - from,
                escaped: field.escaped,
                first_inside,
                end_inside: self.insides.len(),
            });
            from = value_end;
        }
        true
    }

    /// The inside of the object that begins at `from` and ends with `bytes`, unless the shape becomes too long.
    fn learn_inside(&mut self, bytes: &[u8], mut from: usize) {
        let mut scanner = Scanner::new(bytes, from);
        let mut depth = 0;
        let mut is_value = false;
        while let Some(byte) = bytes.get(scanner.at).filter(|_| self.text.len() <= LONGEST) {
            match byte {
                b'{' => (depth, is_value) = (depth + 1, false),
                b'}' => depth -= 1,
                b':' => is_value = true,
                b',' | b' ' | b'\t' | b'\n' | b'\r' => {}
                _ if is_value => {
                    self.keep_stretch(&bytes[from..scanner.at], depth);
                    // It has passed before, so it passes again.
                    let _ = scanner.value(depth);
                    (from, is_value) = (scanner.at, false);
                    continue;
                }
                _ => {
                    let _ = scanner.string();
                    continue;
                }
            }
            scanner.at += 1;
        }
        self.keep_stretch(&bytes[from..], depth);
    }

    fn keep_stretch(&mut self, text: &[u8], depth: usize) {
        let text = self.keep(text);
        self.insides.push(Stretch { text, depth });
    }

    fn keep(&mut self, text: &[u8]) -> Piece {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        let mut head = [0; 16];
        let mut mask = [0; 16];
        for (at, byte) in text.iter().take(16).enumerate() {
            (head[at], mask[at]) = (*byte, 0xff);
        }
        let (head, mask) = (u128::from_le_bytes(head), u128::from_le_bytes(mask));
        Piece { start, end: self.text.len(), head, mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::{Index, index};

    fn shapes(documents: &[&str]) -> Vec<u64> {
        let mut used = Index::default();
        let shape = |document: &&str| {
            index(document.as_bytes(), &mut used).unwrap();
            used.shape
        };
        documents.iter().map(shape).collect()
    }

    #[test]
    fn only_values_may_differ() {
        assert_eq!(
            shapes(&[r#"{"a":1,"b":[]}"#, r#"{"a":"x","b":{"c":2}}"#, r#"{"a":[2],"b":null}"#]),
            [1, 1, 1]
        );
        assert_eq!(shapes(&[r#"{"a":1,"b":2}"#, r#"{"a": 1,"b":2}"#, r#"{"a":1, "b":2}"#]), [1, 1, 2]);
        assert_eq!(shapes(&[r#"{"a":1}"#, r#"{"a":1,"b":2}"#]), [1, 2]);
        assert_eq!(shapes(&[r#"{"a":1,"b":2}"#, r#"{"a":1}"#]), [1, 2]);
    }

    #[test]
    fn an_object_may_differ_inside() {
        let documents = [
            r#"{"a":{"b":1,"c":{"d":2}},"e":3}"#,
            r#"{"a":{"b":[1],"c":{"d":{}}},"e":4}"#,
            r#"{"a":{"x":1},"e":3}"#,
            r#"{"a":{},"e":3}"#,
        ];
        assert_eq!(shapes(&documents), [1; 4]);
    }

    #[test]
    fn what_changes_with_every_document_is_learned_less_and_less() {
        let documents: Vec<String> = (0..200).map(|number| format!("{{\"a{number}\":1}}")).collect();
        let shapes = shapes(&documents.iter().map(String::as_str).collect::<Vec<_>>());
        let learned = shapes.iter().max().unwrap();
        assert!((4..20).contains(learned), "{learned} of 200");
        assert!(shapes.iter().filter(|shape| **shape > 0).count() as u64 == *learned);
    }

    #[test]
    fn long_shapes_are_not_kept() {
        let long = format!("{{\"{}\":1}}", "a".repeat(LONGEST));
        assert_eq!(shapes(&[&long, &long, "{}", "{}"])[..2], [0, 0]);
        let many = format!("{{\"a\":{{{}\"b\":1}}}}", "\"b\":1,".repeat(1 << 20));
        let mut found = Index::default();
        index(many.as_bytes(), &mut found).unwrap();
        let mut shape = Shape::default();
        assert!(!shape.learn(many.as_bytes(), &found.fields));
        assert!(shape.insides.len() <= LONGEST, "learning stops where the shape is too long");
    }
}
