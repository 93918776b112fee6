//! docferry ferries documents: out of files and databases, through steps that edit them, into files and databases, under a
//! tuner, resumable at any moment.
//!
//! The floor plan, in the order in which a document passes through:
//!
//! ```text
//!  main -> cli -> config --Job--> run (assembly)
//!  report <-Event-- pipeline: read ==> transform ==> lanes ==> send <-Knobs(watch)-- tuner <- profiles/
//!                     |                                          |                      ^
//!           connector/*  transform/*                             +--> observe --Sample--+
//!                                                                +--> checkpoint (only what is durable)
//!  -------- model, error: every room depends on these; these depend on nothing --------
//! ```
//!
//! Documents only go right, events out, samples up, decisions across, acknowledgements down. `tests/layering.rs` holds the
//! allowed edges.

pub mod cli;
pub mod config;
pub mod run;

pub mod connector;
pub mod transform;

pub mod pacing;
pub mod pipeline;

pub mod emulator;

pub mod checkpoint;
pub mod rejects;

pub mod observe;
pub mod report;
pub mod simulate;
pub mod tuner;

pub mod error;
pub mod model;
