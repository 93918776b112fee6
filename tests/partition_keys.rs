//! Places of partition keys against those that the official client computes, in `partition_keys.jsonl`.
//!
//! Each line has a definition, a key (`{}` for an undefined value) and the place that the Rust driver of Azure Cosmos DB gives it. The same key is
//! hashed here by itself and out of a document.

use docferry::model::partition_key::{Epk, Kind, PartitionKey, PartitionKeyDefinition, Version};
use serde_json::{Map, Value};
use std::path::Path;

#[test]
fn every_key_is_hashed_as_the_service_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/partition_keys.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.lines().count() > 100);
    for line in text.lines() {
        let known: Value = serde_json::from_str(line).unwrap();
        let key = known["key"].as_array().unwrap();
        let paths: Vec<String> = (0..key.len()).map(|level| format!("/k{level}")).collect();
        let kind = if known["kind"] == "Hash" { Kind::Hash } else { Kind::MultiHash };
        let version = if known["version"] == 1 { Version::V1 } else { Version::V2 };
        let definition = PartitionKeyDefinition::new(paths, kind, version).unwrap();
        let expected = known["epk"].as_str().unwrap();

        let header = PartitionKey::from_header_json(&known["key"].to_string()).unwrap();
        assert_eq!(definition.epk(&header).to_string(), expected, "{line}");
        assert_eq!(Epk::from_hex(expected).unwrap(), definition.epk(&header));

        let fields = key.iter().enumerate().filter(|(_, value)| !value.is_object());
        let document: Map<String, Value> =
            fields.map(|(level, value)| (format!("k{level}"), value.clone())).collect();
        let document = serde_json::to_vec(&document).unwrap();
        assert_eq!(definition.epk_of(&document).unwrap().to_string(), expected, "{line}");
    }
}
