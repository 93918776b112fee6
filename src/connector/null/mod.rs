//! Nothing: a source that costs nothing to read and a target that costs nothing to write.
//!
//! It measures the pipeline itself. With `null:` on both sides what remains is reading, transforming, routing and
//! acknowledging; with it on one side, the other side's own limit.

mod sink;
mod source;

pub use sink::NullSink;
pub use source::NullSource;

use crate::connector::registry::Connector;
use crate::connector::sink::Sink;
use crate::connector::source::Source;
use crate::model::json;
use crate::model::settings::Section;

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "null",
    about: "nothing: one document over and over as a source, a target that discards; measures the pipeline",
    // A path would say nothing: `null:` is the whole URI.
    location: "",
    source_settings: &[("documents", "how many documents"), ("document", "the document, a JSON object")],
    target_settings: &[],
    source: Some(source_from_settings),
    sink: Some(|_| Some(Box::new(NullSink) as Box<dyn Sink>)),
};

/// About a hundred bytes with one field of each common kind: small enough that the cost of each document, not of its
/// bytes, is measured.
const DOCUMENT: &str = r#"{"id":"null","name":"a small document","amount":12.5,"count":7,"tags":["a","b"],"nested":{"flag":true}}"#;

fn source_from_settings(section: &mut Section) -> Option<Box<dyn Source>> {
    // A number up to which `count x length` cannot overflow.
    let documents = section.count_or("documents", 0..=1 << 40, 1_000_000);
    let document = section.text_or("document", DOCUMENT);
    let document = document.trim();
    if let Err(malformed) = json::index(document.as_bytes(), &mut json::Index::default()) {
        section.problem(
            "document",
            format!("must be one JSON object: {} at byte {}", malformed.reason, malformed.at),
        );
        return None;
    }
    Some(Box::new(NullSource::new(documents, document.as_bytes())))
}
