//! Reading JSON text without changing it.
//!
//! [`index`] is the one validating pass: it accepts exactly the texts of RFC 8259 that hold one object, and notes where the
//! top-level fields lie. [`field`] finds one field of a text that has passed. Numbers and strings stay text: nothing is
//! parsed that nobody asked for. [`text`] turns the text of a string into characters and back.

pub mod scan;
pub mod text;

pub use scan::{Field, Index, MAX_DEPTH, Malformed, compact, field, index};
pub use text::{scalar_text, unescape, unescape_exact, write_string};
