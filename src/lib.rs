//! docferry ferries documents.
#![warn(missing_docs)]

pub mod connector;
pub mod error;
pub mod model;
pub mod transform;
