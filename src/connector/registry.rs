//! The table of connectors: the only place that knows them all.

#[cfg(feature = "cosmos")]
use crate::connector::cosmos;
use crate::connector::sink::Sink;
use crate::connector::source::Source;
use crate::connector::{file, memory, null, sqlite};
use crate::model::settings::Section;

/// Builds a source from its settings. Problems go into the section; nothing is opened yet.
pub type MakeSource = fn(&mut Section) -> Option<Box<dyn Source>>;

/// Builds a sink from its settings. Problems go into the section; nothing is opened yet.
pub type MakeSink = fn(&mut Section) -> Option<Box<dyn Sink>>;

/// One connector.
#[derive(Clone, Copy, Debug)]
pub struct Connector {
    /// The word in strategies (`connector = "sqlite"`) and before the colon of a URI.
    pub name: &'static str,
    /// One line for `docferry list connectors`.
    pub about: &'static str,
    /// The setting that a URI's path fills (`sqlite:PATH?table=t`).
    pub location: &'static str,
    /// Settings as a source, each with one line.
    pub source_settings: &'static [(&'static str, &'static str)],
    /// Settings as a target, each with one line.
    pub target_settings: &'static [(&'static str, &'static str)],
    /// How to read from it.
    pub source: Option<MakeSource>,
    /// How to write to it.
    pub sink: Option<MakeSink>,
}

/// Every connector, in the order in which `list` prints them.
pub const CONNECTORS: &[Connector] = &[
    file::CONNECTOR,
    sqlite::CONNECTOR,
    #[cfg(feature = "cosmos")]
    cosmos::CONNECTOR,
    memory::CONNECTOR,
    null::CONNECTOR,
];

/// The connector of that name.
pub fn find(name: &str) -> Option<&'static Connector> {
    CONNECTORS.iter().find(|connector| connector.name == name)
}
