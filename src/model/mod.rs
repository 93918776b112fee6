//! The shared vocabulary: plain data that every room speaks and that depends on nothing but the error type.
//!
//! [`document`] says what a document is: exact bytes in a contiguous buffer. [`json`] reads those bytes without
//! changing them. [`batch`] and [`partition`] say where documents come from, [`partition_key`] where Cosmos keeps them, [`request`] where they go,
//! [`checkpoint`] what is known durable, [`buffers`] keeps memory for the next batch. [`knobs`], [`sample`] and [`decision`] are the words of the tuner's loop,
//! [`meter`] the counters it is measured with, [`workload`] how hard a window worked and what held it back, [`performance`] what all windows amount to, [`event`] everything the outside may know, [`shell`] a command that it may paste,
//! [`standard`] whether the process was given its standard streams. [`blocking()`] runs what may wait for a disk.

pub mod batch;
mod blocking;
pub mod buffers;
pub mod checkpoint;
pub mod decision;
pub mod document;
pub mod event;
pub mod json;
pub mod knobs;
pub mod meter;
pub mod partition;
pub mod partition_key;
pub mod performance;
pub mod position_id;
pub mod reject;
pub mod request;
pub mod sample;
pub mod scaling;
pub mod settings;
pub mod shell;
pub mod standard;
pub mod units;
pub mod verification;
pub mod workload;

pub use blocking::blocking;

use std::future::Future;
use std::pin::Pin;

/// An owned future, the return type of every asynchronous trait method (the traits are used as `dyn`).
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
