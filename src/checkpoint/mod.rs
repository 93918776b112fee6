//! What is known durable, and where it is kept.
//!
//! Requests are answered in any order, and a run may be killed between any two instructions. So nothing is called done when it is sent
//! or answered: the [`ledger`] joins finished stretches of each partition into a low-water mark and intervals above it, and the
//! [`store`] keeps a snapshot of them in two generations, written to a temporary file, synced and renamed. A sink that commits the
//! checkpoint with its data has a third copy, which wins.

pub mod ledger;
pub mod lock;
pub mod store;
