//! From what the user said to one resolved job.
pub mod job;
