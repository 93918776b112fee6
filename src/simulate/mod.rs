//! The simulator: plants in virtual time, on which the tuner and its rivals are tried.

mod chance;
mod controller;
mod crew;
mod docferry;
mod oracle;
mod pipeline;
mod plant;
mod rivals;
mod score;
mod target;
mod world;
