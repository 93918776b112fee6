//! A draft is one document being edited: its fields as slices of the original bytes, plus what the steps made.
//!
//! Steps change which slices make up the document; nothing is rendered before the last step. Rendering copies the
//! original in as few pieces as the edits allow: neighbours that no step touched go out as one run, with the white space and
//! separators between them as they were.

use crate::model::json::{Field, Index, unescape};
use crate::transform::names::{NameId, Names, Seen, fingerprint};
use std::collections::HashSet;

/// No field has this name.
const ABSENT: u32 = u32::MAX;

/// So many names are compared with each other where two may be equal; more go through a set, which is slower for few and linear for many.
const FEW: usize = 64;

/// A stretch of what the steps made.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
}

/// What the steps have done to one field. The first slots are the source's fields in their order, the others were added.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The name, if a step gave another.
    name: Option<NameId>,
    /// The value, if a step made another.
    value: Option<Piece>,
    removed: bool,
}

impl Slot {
    /// It goes out as it came in.
    #[inline(always)]
    fn is_untouched(&self) -> bool {
        !self.removed && self.name.is_none() && self.value.is_none()
    }
}

/// The memory of a draft, kept from document to document.
#[derive(Debug, Default)]
pub(crate) struct DraftMemory {
    slots: Vec<Slot>,
    /// For each known name, its slot.
    places: Vec<u32>,
    /// What `places` is before the first step, and whether a name comes twice: both hold for every document of this shape.
    shape: u64,
    resolved: Vec<u32>,
    duplicates: bool,
    /// Bytes made by steps.
    made: Vec<u8>,
    /// They would have been more than a [`Piece`] can tell apart.
    overgrown: bool,
    /// The slots of a rename under way.
    moving: Vec<u32>,
}

impl DraftMemory {
    /// The end of what was made since `start`; `None`: it was too much, and is gone.
    fn end_of_made(&mut self, start: u32) -> Option<u32> {
        let end = u32::try_from(self.made.len()).ok();
        if end.is_none() {
            self.made.truncate(start as usize);
            self.overgrown = true;
        }
        end
    }

    /// Finds the place of every known name; of equal names the last counts.
    fn resolve(&mut self, source: &[u8], index: &Index, names: &Names) {
        self.resolved.clear();
        self.resolved.resize(names.len(), ABSENT);
        self.duplicates = false;
        if index.fields.iter().any(|field| field.escaped) {
            return self.resolve_escaped(source, index, names);
        }
        let mut seen = Seen::default();
        for (number, field) in index.fields.iter().enumerate() {
            let raw = field.raw_name(source);
            let print = fingerprint(raw);
            if index.fields.len() <= FEW && seen.meets(print) {
                self.duplicates |= index.fields[..number].iter().any(|other| other.raw_name(source) == raw);
            }
            if let Some(id) = names.find(print, raw) {
                self.resolved[id.0 as usize] = number as u32;
            }
        }
        if index.fields.len() > FEW {
            let mut seen = HashSet::with_capacity(index.fields.len());
            self.duplicates = !index.fields.iter().all(|field| seen.insert(field.raw_name(source)));
        }
    }

    /// Names with escapes are rare: all are compared as characters.
    #[cold]
    fn resolve_escaped(&mut self, source: &[u8], index: &Index, names: &Names) {
        let mut seen = HashSet::with_capacity(index.fields.len());
        for (number, field) in index.fields.iter().enumerate() {
            let text = unescape(field.raw_name(source));
            if let Some(id) = names.find(fingerprint(text.as_bytes()), text.as_bytes()) {
                self.resolved[id.0 as usize] = number as u32;
            }
            self.duplicates |= !seen.insert(text);
        }
    }
}

/// One document being edited.
#[derive(Debug)]
pub struct Draft<'a> {
    source: &'a [u8],
    names: &'a Names,
    /// The source's fields.
    fields: &'a [Field],
    memory: &'a mut DraftMemory,
    touched: bool,
    duplicates: bool,
}

impl<'a> Draft<'a> {
    /// Begins to edit `source`, whose fields are in `index`.
    pub(crate) fn begin(
        source: &'a [u8],
        index: &'a Index,
        names: &'a Names,
        memory: &'a mut DraftMemory,
    ) -> Self {
        memory.slots.clear();
        memory.slots.resize(index.fields.len(), Slot::default());
        memory.made.clear();
        memory.overgrown = false;
        if index.shape == 0 || index.shape != memory.shape {
            memory.resolve(source, index, names);
            memory.shape = index.shape;
        }
        memory.places.clear();
        memory.places.extend_from_slice(&memory.resolved);
        let duplicates = memory.duplicates;
        Self { source, fields: &index.fields, names, memory, touched: false, duplicates }
    }

    /// Whether the document holds a key twice at its top level.
    pub(crate) fn has_duplicates(&self) -> bool {
        self.duplicates
    }

    /// Whether the steps have made more of the document than can be held; it is then not whole.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.memory.overgrown
    }

    /// Whether a step changed anything.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched
    }

    /// The text of a field's value; of duplicate keys the last.
    #[inline]
    pub(crate) fn value(&self, name: NameId) -> Option<&[u8]> {
        let place = self.memory.places[name.0 as usize] as usize;
        match self.memory.slots.get(place)?.value {
            Some(piece) => Some(&self.memory.made[piece.start as usize..piece.end as usize]),
            None => Some(self.fields[place].raw_value(self.source)),
        }
    }

    /// The text of a field's value, with null taken as absent.
    pub(crate) fn value_not_null(&self, name: NameId) -> Option<&[u8]> {
        self.value(name).filter(|value| *value != b"null")
    }

    /// In which way a field that has no text is absent.
    pub(crate) fn absence(&self, name: NameId) -> &'static str {
        if self.value(name).is_some() { "is null" } else { "is missing" }
    }

    /// Takes a field away, with all its duplicates.
    pub(crate) fn remove(&mut self, name: NameId) {
        let place = std::mem::replace(&mut self.memory.places[name.0 as usize], ABSENT);
        if let Some(slot) = self.memory.slots.get_mut(place as usize) {
            slot.removed = true;
            self.touched = true;
            if self.duplicates {
                self.remove_source_fields_named(name);
            }
        }
    }

    /// Gives fields other names, all at once (two names can be swapped). A field that had a new name already is replaced;
    /// earlier duplicates go.
    pub(crate) fn rename(&mut self, pairs: &[(NameId, NameId)]) {
        self.memory.moving.clear();
        for (from, _) in pairs {
            let place = self.memory.places[from.0 as usize];
            self.memory.moving.push(place);
            self.remove(*from);
        }
        for (number, (_, to)) in pairs.iter().enumerate() {
            let place = self.memory.moving[number];
            if place != ABSENT {
                self.remove(*to);
                let slot = &mut self.memory.slots[place as usize];
                slot.removed = false;
                slot.name = Some(*to);
                self.memory.places[to.0 as usize] = place;
            }
        }
    }

    /// Sets a field's value to what `make` appends; a field that is not there is added at the end.
    pub(crate) fn set(&mut self, name: NameId, make: impl FnOnce(&mut Made<'_, 'a>)) {
        let start = self.memory.made.len() as u32;
        make(&mut Made { draft: self });
        self.touched = true;
        let Some(end) = self.memory.end_of_made(start) else { return };
        let value = Some(Piece { start, end });
        let place = self.memory.places[name.0 as usize];
        if let Some(slot) = self.memory.slots.get_mut(place as usize) {
            slot.value = value;
            return;
        }
        self.memory.places[name.0 as usize] = self.memory.slots.len() as u32;
        self.memory.slots.push(Slot { name: Some(name), value, removed: false });
    }

    /// Takes away every field but these.
    pub(crate) fn keep(&mut self, names: &[NameId]) {
        let keep_places: Vec<u32> = names.iter().map(|name| self.memory.places[name.0 as usize]).collect();
        for (place, slot) in self.memory.slots.iter_mut().enumerate() {
            if !slot.removed && !keep_places.contains(&(place as u32)) {
                slot.removed = true;
                self.touched = true;
            }
        }
        for (number, place) in self.memory.places.iter_mut().enumerate() {
            if !names.contains(&NameId(number as u16)) {
                *place = ABSENT;
            }
        }
    }

    #[cold]
    fn remove_source_fields_named(&mut self, name: NameId) {
        let text = self.names.text(name);
        for (slot, field) in self.memory.slots.iter_mut().zip(self.fields) {
            if slot.name.is_none() && field.is_named(self.source, text) {
                slot.removed = true;
            }
        }
    }

    /// Appends the document as it is now.
    pub(crate) fn render(&self, out: &mut Vec<u8>) {
        if !self.touched {
            out.extend_from_slice(self.source);
            return;
        }
        let (of_source, added) = self.memory.slots.split_at(self.fields.len());
        let start = out.len();
        // The source before this has been copied or left out.
        let mut done = 0;
        // Fields at the beginning that have gone, with what follows each of them.
        let mut gone = 0;
        for (place, slot) in of_source.iter().enumerate().filter(|(_, slot)| !slot.is_untouched()) {
            let field = &self.fields[place];
            if slot.removed {
                // The separator before it goes too; at the beginning, where there is none, the one behind it.
                let is_first = gone == place;
                let kept =
                    if is_first { self.name_quote(0) } else { self.fields[place - 1].value_end as usize };
                out.extend_from_slice(&self.source[done..kept.max(done)]);
                done = match place + 1 {
                    next if is_first && next < self.fields.len() => self.name_quote(next),
                    _ => field.value_end as usize,
                };
                gone += usize::from(is_first);
                continue;
            }
            if let Some(name) = slot.name {
                out.extend_from_slice(&self.source[done..self.name_quote(place)]);
                out.extend_from_slice(self.names.rendered(name));
                done = field.name_end as usize + 1;
            }
            if slot.value.is_some() {
                out.extend_from_slice(&self.source[done..field.value_start as usize]);
                out.extend_from_slice(self.made(slot.value));
                done = field.value_end as usize;
            }
        }
        let end = self.fields.last().map_or(0, |last| last.value_end as usize);
        let all_gone = gone == self.fields.len();
        if all_gone {
            out.truncate(start);
        } else {
            out.extend_from_slice(&self.source[done..end]);
        }
        let mut is_empty = all_gone;
        for slot in added.iter().filter(|slot| !slot.removed) {
            out.push(if is_empty { b'{' } else { b',' });
            out.extend_from_slice(slot.name.map_or(b"", |name| self.names.rendered(name)));
            out.push(b':');
            out.extend_from_slice(self.made(slot.value));
            is_empty = false;
        }
        match end {
            _ if is_empty => out.extend_from_slice(b"{}"),
            0 => out.push(b'}'),
            end => out.extend_from_slice(&self.source[end..]),
        }
    }

    /// Where the field at `place` of the source begins.
    fn name_quote(&self, place: usize) -> usize {
        self.fields[place].name_start as usize - 1
    }

    fn made(&self, piece: Option<Piece>) -> &[u8] {
        piece.map_or(b"", |piece| &self.memory.made[piece.start as usize..piece.end as usize])
    }
}

/// Where a step writes a value, with the fields at hand.
#[derive(Debug)]
pub(crate) struct Made<'d, 'a> {
    draft: &'d mut Draft<'a>,
}

impl Made<'_, '_> {
    /// Appends bytes of JSON text.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.draft.memory.made.extend_from_slice(bytes);
    }

    /// The bytes made so far, to append to.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.draft.memory.made
    }

    /// Appends the text of a field's value, `range` of it.
    pub(crate) fn copy_field(&mut self, name: NameId, range: impl FnOnce(&[u8]) -> std::ops::Range<usize>) {
        let draft = &mut *self.draft;
        let place = draft.memory.places[name.0 as usize] as usize;
        let Some(slot) = draft.memory.slots.get(place) else { return };
        match slot.value {
            None => {
                let value = draft.fields[place].raw_value(draft.source);
                draft.memory.made.extend_from_slice(&value[range(value)]);
            }
            Some(Piece { start, end }) => {
                let (start, end) = (start as usize, end as usize);
                let range = range(&draft.memory.made[start..end]);
                draft.memory.made.extend_from_within(start + range.start..start + range.end);
            }
        }
    }

    /// The text of a field's value.
    pub(crate) fn field(&self, name: NameId) -> Option<&[u8]> {
        self.draft.value(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json;

    fn edit(text: &str, names: &[&str], steps: impl FnOnce(&mut Draft<'_>, &[NameId])) -> String {
        let mut table = Names::default();
        let ids: Vec<NameId> = names.iter().map(|name| table.intern(name)).collect();
        let mut index = Index::default();
        json::index(text.as_bytes(), &mut index).unwrap();
        let mut memory = DraftMemory::default();
        let mut draft = Draft::begin(text.as_bytes(), &index, &table, &mut memory);
        steps(&mut draft, &ids);
        let mut out = Vec::new();
        draft.render(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn more_than_a_place_can_tell_is_noticed_and_forgotten_with_its_document() {
        let (mut table, mut index, mut memory) = (Names::default(), Index::default(), DraftMemory::default());
        let name = table.intern("a");
        let text = b"{\"a\":1}";
        json::index(text, &mut index).unwrap();
        let mut draft = Draft::begin(text, &index, &table, &mut memory);
        // Pages that nobody writes to take no memory.
        draft.set(name, |made| *made.bytes() = vec![0; u32::MAX as usize + 1]);
        assert!(draft.is_overgrown());
        draft.set(name, |made| made.push(b"2"));
        assert!(draft.is_overgrown(), "a later step does not make it whole");
        assert!(!Draft::begin(text, &index, &table, &mut memory).is_overgrown());
    }

    #[test]
    fn untouched_parts_keep_their_white_space() {
        let text = "{ \"a\" : 1.10 ,\n \"b\": [ 1 ] , \"c\":{} }";
        assert_eq!(edit(text, &[], |_, _| ()), text);
        assert_eq!(edit(text, &["b"], |d, n| d.remove(n[0])), "{ \"a\" : 1.10 , \"c\":{} }");
        assert_eq!(edit(text, &["a"], |d, n| d.remove(n[0])), "{ \"b\": [ 1 ] , \"c\":{} }");
        assert_eq!(edit(text, &["c"], |d, n| d.remove(n[0])), "{ \"a\" : 1.10 ,\n \"b\": [ 1 ] }");
        assert_eq!(edit(text, &["b", "x"], |d, n| d.rename(&[(n[0], n[1])])), text.replace("\"b\"", "\"x\""));
        assert_eq!(edit(text, &["a"], |d, n| d.set(n[0], |m| m.push(b"2"))), text.replace("1.10", "2"));
        assert_eq!(
            edit(text, &["z"], |d, n| d.set(n[0], |m| m.push(b"0"))),
            text.replace(" }", ",\"z\":0 }")
        );
    }

    #[test]
    fn all_fields_can_go_and_come() {
        let remove_both = |d: &mut Draft<'_>, n: &[NameId]| {
            d.remove(n[0]);
            d.remove(n[1]);
        };
        assert_eq!(edit("{\"a\":1,\"b\":2}", &["a", "b"], remove_both), "{}");
        assert_eq!(edit("{}", &["a"], |d, n| d.set(n[0], |m| m.push(b"1"))), "{\"a\":1}");
        assert_eq!(edit("{ }", &["a"], |d, n| d.remove(n[0])), "{ }");
        let keep = |d: &mut Draft<'_>, n: &[NameId]| d.keep(&[n[1], n[2]]);
        assert_eq!(edit("{\"a\":1,\"b\":2,\"c\":3}", &["a", "b", "missing"], keep), "{\"b\":2}");
    }

    #[test]
    fn of_duplicate_keys_the_last_counts_and_none_comes_back() {
        let text = r#"{"a":1,"\u0061":2,"b":3}"#;
        assert_eq!(edit(text, &["a"], |d, n| assert_eq!(d.value(n[0]), Some(&b"2"[..]))), text);
        assert_eq!(edit(text, &["a"], |d, n| d.remove(n[0])), r#"{"b":3}"#);
        assert_eq!(edit(text, &["a", "x"], |d, n| d.rename(&[(n[0], n[1])])), r#"{"x":2,"b":3}"#);
        assert_eq!(edit(text, &["b", "a"], |d, n| d.rename(&[(n[0], n[1])])), r#"{"a":3}"#);
    }

    /// A hundred thousand names, as a dictionary has: had each to be compared with all before it, this would take minutes.
    #[test]
    fn many_names_are_looked_at_once() {
        for (first, has_duplicates) in [("k0", false), ("k99999", true), ("k\\u0039", true)] {
            let fields: Vec<String> = (0..100_000).map(|number| format!("\"k{number}\":1")).collect();
            let text = format!("{{{},\"{first}x\":0,\"{first}\":2}}", fields[1..].join(","));
            let edited = edit(&text, &["k99999"], |draft, names| {
                assert_eq!(draft.has_duplicates(), has_duplicates, "{first}");
                draft.remove(names[0]);
            });
            assert!(!edited.contains("\"k99999\":"));
        }
    }

    #[test]
    fn names_can_be_swapped() {
        let swap = |d: &mut Draft<'_>, n: &[NameId]| d.rename(&[(n[0], n[1]), (n[1], n[0])]);
        assert_eq!(edit("{\"a\":1,\"b\":2}", &["a", "b"], swap), "{\"b\":1,\"a\":2}");
        assert_eq!(edit("{\"a\":1}", &["a", "b"], swap), "{\"b\":1}");
    }

    #[test]
    fn a_made_value_can_be_read_renamed_and_copied() {
        let chain = |d: &mut Draft<'_>, n: &[NameId]| {
            d.set(n[1], |m| m.push(b"\"made\""));
            d.rename(&[(n[1], n[2])]);
            d.set(n[3], |m| m.copy_field(n[2], |text| 1..text.len() - 1));
            assert_eq!(d.value(n[1]), None);
        };
        assert_eq!(edit("{\"a\":1}", &["a", "b", "c", "d"], chain), "{\"a\":1,\"c\":\"made\",\"d\":made}");
    }

    use proptest::prelude::*;

    /// What can be done to a field, by the place of its name in [`NAMES`].
    #[derive(Clone, Debug)]
    enum Edit {
        Remove(usize),
        Rename(usize, usize),
        Set(usize, u8),
        Keep(Vec<usize>),
    }

    const NAMES: [&str; 5] = ["a", "b", "cc", "d\"e", "é"];

    fn edits() -> impl Strategy<Value = Edit> {
        let name = || 0..NAMES.len();
        prop_oneof![
            name().prop_map(Edit::Remove),
            (name(), name())
                .prop_filter("another", |(from, to)| from != to)
                .prop_map(|(from, to)| Edit::Rename(from, to)),
            (name(), any::<u8>()).prop_map(|(name, value)| Edit::Set(name, value)),
            prop::collection::vec(name(), 0..4).prop_map(Edit::Keep),
        ]
    }

    /// The same edits on a list of names and values, where order is the order of the text.
    fn model(fields: &mut Vec<(String, String)>, edit: &Edit) {
        let place = |fields: &[(String, String)], name: usize| {
            fields.iter().position(|(found, _)| found == NAMES[name])
        };
        match edit {
            Edit::Remove(name) => fields.retain(|(found, _)| found != NAMES[*name]),
            Edit::Rename(from, to) => {
                if place(fields, *from).is_some() {
                    fields.retain(|(found, _)| found != NAMES[*to]);
                    let from = place(fields, *from).unwrap();
                    fields[from].0 = NAMES[*to].to_owned();
                }
            }
            Edit::Set(name, value) => match place(fields, *name) {
                Some(place) => fields[place].1 = value.to_string(),
                None => fields.push((NAMES[*name].to_owned(), value.to_string())),
            },
            Edit::Keep(names) => fields.retain(|(found, _)| names.iter().any(|name| found == NAMES[*name])),
        }
    }

    proptest! {
        #[test]
        fn edits_do_what_they_do_to_a_list(
            given in prop::sample::subsequence(vec!["a", "b", "cc", "d\"e", "é", "x", "y"], 0..7).prop_shuffle(),
            gap in prop::sample::select(vec!["", " "]),
            edits in prop::collection::vec(edits(), 0..6),
        ) {
            let quoted = |name: &str| serde_json::to_string(name).unwrap();
            let fields = given.iter().enumerate().map(|(place, name)| ((*name).to_owned(), format!("[{place}]")));
            let mut expected: Vec<(String, String)> = fields.collect();
            let text = |fields: &[(String, String)]| {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}{gap}:{value}", quoted(name))).collect();
                format!("{{{}}}", fields.join(&format!("{gap},")))
            };
            let found = edit(&text(&expected), &NAMES, |draft, names| {
                for edit in &edits {
                    model(&mut expected, edit);
                    match edit {
                        Edit::Remove(name) => draft.remove(names[*name]),
                        Edit::Rename(from, to) => draft.rename(&[(names[*from], names[*to])]),
                        Edit::Set(name, value) => draft.set(names[*name], |made| made.push(value.to_string().as_bytes())),
                        Edit::Keep(keep) => draft.keep(&keep.iter().map(|name| names[*name]).collect::<Vec<_>>()),
                    }
                }
            });
            prop_assert_eq!(found.replace(' ', ""), text(&expected).replace(' ', ""));
        }
    }
}
