//! What was admitted and what was sent away: the judge of how well a client keeps to its budget.

use super::budget::Window;
use super::container::Container;
use super::partition::Partition;
use serde::Serialize;

/// All containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// One entry a container.
    pub containers: Vec<ContainerLedger>,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerLedger {
    /// `database/container`.
    pub link: String,
    /// Request units a second, of all partitions together; zero is no limit.
    pub throughput: u64,
    /// Those that were split first, then those that are there, in the order of their ranges.
    pub partitions: Vec<PartitionLedger>,
}

/// One physical partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionLedger {
    /// Its id.
    pub id: String,
    /// Documents in it now.
    pub documents: u64,
    /// Request units admitted in the windows below.
    pub request_units: f64,
    /// Operations admitted in the windows below.
    pub operations: u64,
    /// Operations sent away in the windows below.
    pub throttled: u64,
    /// Those in which something happened, oldest first; the last 3 600.
    pub windows: Vec<Window>,
}

impl ContainerLedger {
    pub(super) fn of(container: &Container) -> Self {
        let topology = container.topology();
        let partitions = topology.retired.iter().chain(&topology.partitions);
        Self {
            link: container.link.clone(),
            throughput: container.offer().throughput,
            partitions: partitions.map(|partition| PartitionLedger::of(partition)).collect(),
        }
    }

    /// Operations that were sent away, in all partitions.
    pub fn throttled(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.throttled).sum()
    }

    /// Request units that were admitted, in all partitions.
    pub fn request_units(&self) -> f64 {
        self.partitions.iter().map(|partition| partition.request_units).sum()
    }
}

impl PartitionLedger {
    fn of(partition: &Partition) -> Self {
        let contents = partition.lock();
        let windows: Vec<Window> = contents.budget.ledger().cloned().collect();
        Self {
            id: partition.id.clone(),
            documents: contents.documents.len() as u64,
            request_units: windows.iter().map(|window| window.request_units).sum(),
            operations: windows.iter().map(|window| window.operations).sum(),
            throttled: windows.iter().map(|window| window.throttled).sum(),
            windows,
        }
    }
}
