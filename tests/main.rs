//! One binary for all integration tests: it links once, and its modules share what they know of the command line.

mod layering;
//! The tests from outside, one module a subject, linked once.

#[cfg(test)]
mod conformance;
