//! One binary for all integration tests: it links once, and its modules share what they know of the command line.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod benches;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod conformance;
#[cfg(test)]
#[cfg(feature = "cosmos")]
mod cosmos;
#[cfg(test)]
#[cfg(feature = "cosmos")]
mod cosmos_commands;
#[cfg(test)]
#[cfg(feature = "cosmos")]
mod cosmos_keys;
#[cfg(test)]
#[cfg(feature = "cosmos")]
mod cosmos_source;
#[cfg(test)]
mod deciders;
#[cfg(test)]
mod emulator;
#[cfg(test)]
#[cfg(all(unix, feature = "cosmos"))]
mod faults;
#[cfg(test)]
mod fetched;
#[cfg(test)]
mod fidelity;
#[cfg(test)]
#[cfg(all(unix, feature = "cosmos"))]
mod foreign_clients;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod liveness;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod observe;
#[cfg(test)]
mod observe_pipeline;
#[cfg(test)]
#[cfg(feature = "cosmos")]
mod pacing;
#[cfg(test)]
mod partition_ends;
#[cfg(test)]
mod partition_keys;
#[cfg(test)]
mod place;
#[cfg(test)]
#[cfg(feature = "cosmos")]
mod quickstart;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod real_input;
#[cfg(test)]
mod resize;
#[cfg(test)]
mod resume;
#[cfg(test)]
#[cfg(unix)]
mod signals;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod single_documents;
#[cfg(test)]
#[cfg(all(unix, feature = "cosmos"))]
mod smoke;
#[cfg(test)]
mod support;
#[cfg(test)]
mod two_runs;
#[cfg(test)]
mod verify;
