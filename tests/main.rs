//! One binary for all integration tests: it links once, and its modules share what they know of the command line.

mod command_line;
mod conformance;
mod lanes;
mod layering;
mod liveness;
mod resize;
mod support;
