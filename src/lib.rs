//! docferry ferries documents.

pub mod checkpoint;
pub mod connector;
pub mod error;
pub mod model;
pub mod observe;
pub mod pipeline;
pub mod rejects;
pub mod transform;
pub mod tuner;
