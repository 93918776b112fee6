//! The null connector.

use crate::connector::registry::Connector;

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "null",
    about: "",
    location: "path",
    source_settings: &[],
    target_settings: &[],
    source: None,
    sink: None,
};
