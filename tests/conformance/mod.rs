//! The contracts of `Source` and `Sink`, checked for every connector by the same suite, without the pipeline.
//!
//! To add a connector, add a line to one list or both: what a line says is in [`fixture`]. Checks that a connector's
//! capabilities exclude pass at once, so a line never needs to say which checks apply.

mod fixture;
mod sinks;
mod sources;

/// One module a fixture, one test a check.
macro_rules! suite {
    ($checks:ident; $($name:ident = $fixture:expr),+ $(,)?) => {
        $(mod $name {
            use super::$checks;
            use crate::conformance::fixture::*;
            $checks! { $fixture }
        })+
    };
}
mod source {
    use super::sources::source_checks;
    suite! { source_checks;
        file = written("file", &[("path", "{folder}/o.jsonl")], &[("path", "{folder}/o.jsonl"), ("partition_bytes", "4096")]),
        file_array = written("file", &[("path", "{folder}/o.json")], &[("path", "{folder}/o.json")]),
        file_gzip = written("file", &[("path", "{folder}/o.jsonl.gz")], &[("path", "{folder}/o.jsonl.gz")]),
        file_zstd = written("file", &[("path", "{folder}/o.jsonl.zst")], &[("path", "{folder}/o.jsonl.zst")]),
        cosmos = cosmos_written(),
        memory = written("memory", &[("name", "{folder}")], &[("name", "{folder}")]),
        memory_given = given(),
        null = null(),
        sqlite = written("sqlite", &[("path", "{folder}/t.db")], &[("path", "{folder}/t.db"), ("partition_rows", "17")]),
        sqlite_rows = sqlite_rows(),
    }
}

mod sink {
    use super::sinks::sink_checks;
    suite! { sink_checks;
        file = target("file", &[("path", "{folder}/o.jsonl")]),
        file_array = target("file", &[("path", "{folder}/o.json")]),
        file_zstd = target("file", &[("path", "{folder}/o.jsonl.zst")]),
        file_parts = target("file", &[("path", "{folder}/parts")]),
        cosmos = cosmos(&[]),
        cosmos_keyed = cosmos(&[("partition_key", "/year")]),
        cosmos_points = cosmos(&[("encoder", "point")]),
        memory = target("memory", &[("name", "{folder}"), ("lanes", "3"), ("request_documents", "10")]),
        memory_journal = target("memory", &[("name", "{folder}"), ("journal", "{folder}/j.jsonl")]),
        null = target("null", &[]),
        sqlite = target("sqlite", &[("path", "{folder}/t.db")]),
        sqlite_columns = target("sqlite", &[("path", "{folder}/t.db"), ("table", "a \"b"), ("columns", "year")]),
    }
}
