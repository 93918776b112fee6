//! The field names that a chain knows, resolved once a document.
//!
//! A chain of five steps looks up perhaps ten names; a document has perhaps fifteen fields. Instead of ten searches over
//! fifteen fields, every name is interned when the chain is compiled, and one pass over the document's fields puts each
//! into the place of its name: a fingerprint of the name's length and its first and last eight bytes goes through a small
//! table that almost always says "unknown" at the first look. The same fingerprint finds duplicate keys.

/// A name that the chain knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameId(pub(crate) u16);

/// The interned names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    names: Vec<Name>,
    /// Open addressing, a power of two, at most a quarter full: most unknown names meet an empty place at once.
    table: Vec<Option<NameId>>,
}

#[derive(Clone, Debug)]
struct Name {
    text: String,
    /// `"text":` as it is written into a document.
    rendered: Vec<u8>,
    print: u64,
}

impl Names {
    /// The id of `text`, new or known.
    pub(crate) fn intern(&mut self, text: &str) -> NameId {
        let print = fingerprint(text.as_bytes());
        if let Some(id) = self.find(print, text.as_bytes()) {
            return id;
        }
        let id = NameId(self.names.len() as u16);
        let mut rendered = Vec::new();
        crate::model::json::write_string(&mut rendered, text);
        self.names.push(Name { text: text.to_owned(), rendered, print });
        self.table = vec![None; (self.names.len() * 4).next_power_of_two()];
        for (number, name) in self.names.iter().enumerate() {
            let mut place = name.print as usize & (self.table.len() - 1);
            while self.table[place].is_some() {
                place = (place + 1) & (self.table.len() - 1);
            }
            self.table[place] = Some(NameId(number as u16));
        }
        id
    }

    /// The id of a name, if the chain knows it.
    #[inline]
    pub(crate) fn find(&self, print: u64, text: &[u8]) -> Option<NameId> {
        let mask = self.table.len().checked_sub(1)?;
        let mut place = print as usize & mask;
        while let Some(id) = self.table[place] {
            let name = &self.names[id.0 as usize];
            if name.print == print && name.text.as_bytes() == text {
                return Some(id);
            }
            place = (place + 1) & mask;
        }
        None
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name's characters.
    pub(crate) fn text(&self, id: NameId) -> &str {
        &self.names[id.0 as usize].text
    }

    /// The name as a JSON string.
    pub(crate) fn rendered(&self, id: NameId) -> &[u8] {
        &self.names[id.0 as usize].rendered
    }
}

/// A hash that is equal for equal names and cheap for short ones. Not collision free: a find compares the text too.
#[inline]
pub(crate) fn fingerprint(name: &[u8]) -> u64 {
    // Odd 64-bit constants with well-mixed bits (the golden ratio, and two primes of the xxHash specification).
    const K: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9];
    let word = |bytes: &[u8]| {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        u64::from_le_bytes(eight)
    };
    let (first, last) = if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (word(first), word(last))
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
    } else {
        // Up to three bytes: the first, the middle and the last are all of them.
        let at = |i: usize| name.get(i).copied().map_or(0, u64::from);
        (at(0) | at(name.len() / 2) << 8 | at(name.len().saturating_sub(1)) << 16, 0)
    };
    let mixed = (first ^ K[2]).wrapping_mul(K[0]) ^ (last ^ name.len() as u64).wrapping_mul(K[1]);
    mixed ^ mixed >> 29
}

/// Which fingerprints a document has shown so far: 1 024 bits, so that fifteen fields meet by chance in one document of ten.
#[derive(Debug, Default)]
pub(crate) struct Seen([u64; 16]);

impl Seen {
    /// Notes a fingerprint; true if an equal one may have been there.
    #[inline]
    pub(crate) fn meets(&mut self, print: u64) -> bool {
        let bit = (print >> 54) as usize;
        let (word, mask) = (bit / 64, 1 << (bit % 64));
        let was = self.0[word] & mask != 0;
        self.0[word] |= mask;
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_interned_name_is_found_and_no_other(known in prop::collection::hash_set(".{0,12}", 0..40), other in ".{0,12}") {
            let mut names = Names::default();
            for name in &known {
                names.intern(name);
            }
            prop_assert_eq!(names.len(), known.len());
            for name in &known {
                let id = names.find(fingerprint(name.as_bytes()), name.as_bytes()).unwrap();
                prop_assert_eq!(names.text(id), name);
                prop_assert_eq!(names.intern(name), id);
            }
            let found = names.find(fingerprint(other.as_bytes()), other.as_bytes());
            prop_assert_eq!(found.is_some(), known.contains(&other));
        }
    }
}
