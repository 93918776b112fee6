//! docferry ferries documents.
#![warn(missing_docs)]

pub mod config;
pub mod connector;
pub mod error;
pub mod model;
pub mod report;
pub mod run;
pub mod transform;
