//! The tests from outside, one module a subject, linked once.

#[cfg(test)]
mod conformance;
