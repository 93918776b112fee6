//! The sqlite connector.

use crate::connector::registry::Connector;

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "sqlite",
    about: "",
    location: "path",
    source_settings: &[],
    target_settings: &[],
    source: None,
    sink: None,
};
