//! One binary for all integration tests: it links once, and its modules share what they know of the command line.

mod bad_input;
mod commands;
mod conformance;
mod fidelity;
mod kill;
mod layering;
mod place;
mod readme;
mod real_input;
mod verify;
