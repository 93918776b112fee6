//! The rivals: other people's laws for the same knobs, as they are published, so that the tuner is compared with more than itself.
//!
//! Most of these laws govern one number, the requests in flight or their rate. They are given the oracle's other knobs, which is more than
//! anybody has who uses them; `falcon` and the threshold rules find all of theirs. Where a law leaves a constant open or a port had to choose,
//! the choice is in its favour and the file says so.

mod aimd;
mod arc;
mod cosmos_java;
mod cosmos_net;
mod cubic;
mod falcon;
mod fixed;
mod gradient2;
mod hill;
mod mongo;
mod rules;

use super::controller::Controller;
use crate::model::knobs::Knobs;
pub(super) use fixed::Fixed;
pub(super) use rules::Rules;

/// No law sends more than this at a time: the published bound of several of them.
const MOST_REQUESTS: f64 = 200.0;

/// Readers and transformers, at most.
const MOST_WORKERS: usize = 30;

/// What a rival may know before it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// The knobs with which docferry begins.
    pub(super) start: Knobs,
    /// The oracle's knobs: of several stretches those that do best from the first to the last second.
    pub(super) best: Knobs,
}

/// A rival.
#[derive(Clone, Copy)]
pub(super) struct Rival {
    /// Its name in tables and on the command line.
    pub(super) name: &'static str,
    /// What it is, in a line.
    pub(super) about: &'static str,
    /// A fresh one.
    pub(super) make: fn(Given) -> Box<dyn Controller>,
}

/// All of them, in the order of the table.
pub(super) const RIVALS: [Rival; 13] = [
    Rival { name: "fixed", about: "knobs that nobody turns, at usual values", make: fixed::usual },
    Rival {
        name: "oracle",
        about: "the best fixed knobs, not turned either",
        make: |given| Box::new(Fixed(given.best)),
    },
    Rival {
        name: "rules",
        about: "classic threshold rules, balanced",
        make: |_| Box::new(rules::Rules::balanced()),
    },
    Rival {
        name: "rules-agg",
        about: "classic threshold rules, aggressive",
        make: |_| Box::new(rules::Rules::aggressive()),
    },
    Rival {
        name: "aimd",
        about: "one more request per round trip, half of them when throttled",
        make: |given| Box::new(aimd::Aimd::new(given.best)),
    },
    Rival {
        name: "gradient2",
        about: "Netflix concurrency-limits, Gradient2",
        make: |given| Box::new(gradient2::Gradient2::new(given.best)),
    },
    Rival {
        name: "arc",
        about: "Vector, adaptive request concurrency",
        make: |given| Box::new(arc::Arc::new(given.best)),
    },
    Rival {
        name: "cosmos-net",
        about: "Azure Cosmos DB .NET SDK, bulk congestion control",
        make: |given| Box::new(cosmos_net::CosmosNet::new(given.best)),
    },
    Rival {
        name: "cosmos-java",
        about: "Azure Cosmos DB Java SDK, bulk micro-batches",
        make: |given| Box::new(cosmos_java::CosmosJava::new(given.best)),
    },
    Rival {
        name: "cubic",
        about: "AWS SDK, adaptive retry mode",
        make: |given| Box::new(cubic::Cubic::new(given.best)),
    },
    Rival {
        name: "mongo",
        about: "MongoDB, throughput probing",
        make: |given| Box::new(mongo::Mongo::new(given.best)),
    },
    Rival {
        name: "hill",
        about: ".NET thread pool, hill climbing",
        make: |given| Box::new(hill::Hill::new(given.best)),
    },
    Rival {
        name: "falcon",
        about: "gradient ascent over all pools, in the manner of Falcon",
        make: |_| Box::new(falcon::Falcon::new()),
    },
];
