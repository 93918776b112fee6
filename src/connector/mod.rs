//! A connector is a place where documents come from or go to.
//!
//! Every connector is one folder with the same files: `mod.rs` (its settings and the constructors that the
//! [`registry`] names), `source.rs` ([`Source`] and [`Reader`]), `sink.rs` ([`Sink`] and [`Lane`]). Connectors never see each
//! other, the pipeline or the tuner: the contracts in [`source`] and [`sink`] are all they need to know.
//!
//! To add one: copy `memory/`, the reference connector; fill the files; add one line to [`registry::CONNECTORS`] and one to the
//! conformance suite in `tests/conformance.rs`, which then proves the contracts for it.

#[cfg(feature = "cosmos")]
pub mod cosmos;
pub mod file;
pub mod memory;
pub mod null;
pub mod registry;
pub mod sink;
pub mod source;
pub mod sqlite;

pub use sink::{Admission, Lane, Order, Prepare, Sink, SinkCapabilities, Start};
pub use source::{Reader, Source, SourceCapabilities};
