//! docferry ferries documents.

pub mod checkpoint;
pub mod connector;
pub mod error;
pub mod model;
pub mod pipeline;
pub mod rejects;
pub mod transform;
