//! Reading JSON text without changing it.
//!
//! [`index`] is the one validating pass: it accepts exactly the texts of RFC 8259 that hold one object, and notes where the
//! top-level fields lie. [`field`] finds one field of a text that has passed. Numbers and strings stay text: nothing is
//! parsed that nobody asked for, and numbers of any length compare ([`compare_numbers`]). [`Objects`] passes over an array of objects,
//! [`Doubles`] passes over a document and writes it as a database of doubles keeps it, [`write_canonical`] as all spellings of it are hashed. [`text`] turns the text of a string into characters and back.

mod array;
mod canonical;
mod compare;
mod doubles;
mod passed;
mod plain;
pub mod scan;
mod shape;
pub mod text;
mod witness;

pub use array::Objects;
pub use canonical::write_canonical;
pub use compare::{compare_numbers, compare_strings};
pub use doubles::{Doubles, OutOfRange, write_double};
pub use passed::{compact, field, value_at};
pub use scan::{Field, Index, MAX_DEPTH, Malformed, index};
pub use text::{scalar_text, unescape, unescape_exact, write_string};
