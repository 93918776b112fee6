//! The surroundings of the process that settings depend on: environment variables, cores and memory.
//!
//! All of `config` sees them through [`Environment`] alone. So `show` can name the origin of every value, and a test
//! can say what the surroundings are instead of changing those of every other test.

use crate::model::settings::{Origin, Setting, Variables};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;

type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Variables, cores and memory.
pub struct Environment {
    lookup: Lookup,
    cores: usize,
    memory: fn() -> u64,
}

impl Environment {
    /// What this process was started with. The cores are those that it may use: affinity and cgroup quota are respected.
    pub fn of_process() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads variables; all others ask this type"
        )]
        let lookup = |name: &str| std::env::var(name).ok();
        Self { lookup: Arc::new(lookup), cores: available_parallelism().map_or(1, usize::from), memory: || 0 }
    }

    /// Surroundings made up for a test or an embedder.
    pub fn of(variables: &[(&str, &str)], cores: usize) -> Self {
        let map: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { lookup: Arc::new(move |name| map.get(name).cloned()), cores, memory: || 0 }
    }

    /// The same, with a way to learn how many bytes of memory this process may use. It is asked only where that counts, because asking takes a
    /// look at the whole machine.
    #[must_use]
    pub fn with_memory(self, memory: fn() -> u64) -> Self {
        Self { memory, ..self }
    }

    /// The variable's value. An empty one counts as undefined: shells and container files can rarely unset a variable.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The variable as a setting.
    pub(crate) fn setting(&self, name: &str) -> Option<Setting> {
        let origin = Origin::Environment(name.to_owned());
        self.get(name).map(|text| super::asked::Given { text, origin }.to_setting())
    }

    /// The variables, for a connector's secrets.
    pub(crate) fn variables(&self) -> Variables {
        let lookup = Arc::clone(&self.lookup);
        Variables::new(move |name| lookup(name))
    }

    /// Bytes of memory that this process may use; zero where that is not known.
    pub(crate) fn memory(&self) -> u64 {
        (self.memory)()
    }

    /// Cores that this process may use.
    pub fn cores(&self) -> usize {
        self.cores
    }
}

impl fmt::Debug for Environment {
    /// Variables hold secrets and are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("cores", &self.cores).finish_non_exhaustive()
    }
}
