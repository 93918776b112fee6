//! docferry ferries documents.
#![warn(missing_docs)]

pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod connector;
pub mod error;
pub mod model;
pub mod rejects;
pub mod report;
pub mod run;
pub mod transform;
