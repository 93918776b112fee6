//! The local Cosmos endpoint, asked over the wire: each kind of request and each kind of answer.

mod batches;
pub(crate) mod client;
mod damage;
mod data;
mod faults;
mod metadata;
mod points;
mod queries;
mod throughput;
