//! Azure Cosmos DB for NoSQL: one container, as a target of cheap bulk writes and as a source.
//!
//! **Target.** A container is cut into physical partitions, each with its own budget of request units. So each is a lane: a document's partition
//! key is hashed here as the service hashes it (`lanes.rs`), and one request carries up to a hundred documents of one physical partition,
//! whatever their keys (`bulk.rs`); the service answers for each on its own (`answer.rs`). Documents go out as their own bytes.
//!
//! **Source.** Every physical partition is a partition of the source, read page by page; the position is a continuation token.
//!
//! Only `client.rs` knows Microsoft's crates. What none but a real account can settle is listed in `docs/cosmos.md`.

mod account;
mod answer;
mod bulk;
mod client;
mod container;
mod insert;
mod lane;
mod lanes;
mod limits;
mod local;
mod numbers;
mod pace;
mod settings;
mod sink;
mod source;
mod system;

pub use account::{Account, Secret};
pub use container::Shape;
pub use local::{LocalAddress, Provided, provide as provide_local};
pub use pace::MaxRu;
pub use settings::{CONNECTOR, Encoder, Mode, OnLossyNumber, Place, Priority, TargetOptions};
pub use sink::CosmosSink;
pub use source::CosmosSource;
