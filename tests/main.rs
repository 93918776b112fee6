//! One binary for all integration tests: it links once, and its modules share what they know of the command line.

#[cfg(test)]
mod command_line;
#[cfg(test)]
mod conformance;
<<<<<<< HEAD
#[cfg(test)]
=======
mod lanes;
>>>>>>> t1
mod layering;
mod liveness;
mod resize;
mod support;
