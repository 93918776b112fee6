//! Reading JSON text without changing it.
//!
//! [`index`] is the one validating pass: it accepts exactly the texts of RFC 8259 that hold one object, and notes where the
//! top-level fields lie. [`field`] finds one field of a text that has passed. Numbers and strings stay text: nothing is
//! parsed that nobody asked for, and numbers of any length compare ([`compare_numbers`]). [`text`] turns the text of a string into characters and back.

mod compare;
mod passed;
mod plain;
pub mod scan;
mod shape;
pub mod text;

pub use compare::{compare_numbers, compare_strings};
pub use passed::{compact, field};
pub use scan::{Field, Index, MAX_DEPTH, Malformed, index};
pub use text::{scalar_text, unescape, unescape_exact, write_string};
