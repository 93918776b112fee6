//! The file connector.

use crate::connector::registry::Connector;

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "file",
    about: "",
    location: "path",
    source_settings: &[],
    target_settings: &[],
    source: None,
    sink: None,
};
