//! Places of partition keys against those that the official client computes, in `partition_keys.jsonl`.
//!
//! Each line has a definition, a key (`{}` for an undefined value) and the place that the Rust driver of Azure Cosmos DB gives it. The same key is
//! hashed here by itself and out of a document. Where that driver is part of the build, it is asked itself as well: about keys at every limit, and about any
//! number of random ones.

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

#[cfg(feature = "cosmos")]
mod oracle {
    use azure_data_cosmos_driver::models::{
        FeedRange, PartitionKey as Key, PartitionKeyDefinition as Definition, PartitionKeyValue,
    };
    use docferry::model::partition_key::{Component, Kind, PartitionKey, PartitionKeyDefinition, Version};
    use proptest::prelude::*;
    use serde_json::json;

    /// Every kind of definition, for a key of so many values out of `paths`.
    fn definitions(paths: usize) -> Vec<(PartitionKeyDefinition, Definition)> {
        let kinds: &[_] = if paths == 1 {
            &[(Kind::Hash, "Hash", Version::V1, 1), (Kind::Hash, "Hash", Version::V2, 2)]
        } else {
            &[(Kind::MultiHash, "MultiHash", Version::V2, 2)]
        };
        let paths: Vec<String> = (0..paths).map(|level| format!("/k{level}")).collect();
        let both = |(kind, name, version, number): &(Kind, &str, Version, u8)| {
            let theirs = json!({"paths": paths, "kind": name, "version": number});
            let ours = PartitionKeyDefinition::new(paths.clone(), *kind, *version).unwrap();
            (ours, serde_json::from_value(theirs).unwrap())
        };
        kinds.iter().map(both).collect()
    }

    /// Ours and theirs, for every definition of so many paths.
    fn places(components: &[Component<'_>], paths: usize) -> Vec<(String, String)> {
        let value = |component: &Component<'_>| match component {
            Component::Undefined => PartitionKeyValue::UNDEFINED,
            Component::Null => PartitionKeyValue::NULL,
            Component::Bool(flag) => PartitionKeyValue::from(*flag),
            Component::Number(number) => PartitionKeyValue::try_from(*number).unwrap(),
            Component::Text(text) => PartitionKeyValue::from(text.clone().into_owned()),
        };
        let place = |(ours, theirs): (PartitionKeyDefinition, Definition)| {
            let key = Key::try_from(components.iter().map(value).collect::<Vec<_>>()).unwrap();
            let expected = FeedRange::for_partition(key, &theirs).min_inclusive().to_hex();
            (ours.epk(&PartitionKey { components: components.to_vec() }).to_string(), expected)
        };
        definitions(paths).into_iter().map(place).collect()
    }

    fn text(text: impl Into<String>) -> Component<'static> {
        Component::Text(text.into().into())
    }

    #[test]
    fn every_type_and_limit_lies_where_the_driver_says() {
        let mut keys =
            vec![Component::Undefined, Component::Null, Component::Bool(false), Component::Bool(true)];
        let numbers = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            -2.5,
            1e308,
            -1e308,
            5e-324,
            f64::MAX,
            f64::MIN,
            f64::EPSILON,
            9_007_199_254_740_991.0,
            9_007_199_254_740_992.0,
            9_007_199_254_740_994.0,
            1.797e300,
            4_294_967_295.0,
        ];
        keys.extend(numbers.map(Component::Number));
        let words = ["", "a", "1", "null", "é", "😀", "\u{0}", "\u{7f}", "\u{ffff}", "a\"b\\c/", "日本語"];
        keys.extend(words.map(text));
        // Version 1 cuts behind a hundred UTF-16 units: of one, two and three bytes, and of pairs that the cut falls between.
        for character in ["x", "é", "日", "😀"] {
            let lengths = (24..=35).chain(48..=52).chain(98..=103).chain([200, 512, 2048]);
            for length in lengths {
                keys.push(text(character.repeat(length)));
                keys.push(text(format!("x{}", character.repeat(length))));
                keys.push(text(format!("{}{}", "x".repeat(99), character.repeat(length))));
            }
        }
        for key in &keys {
            for (ours, theirs) in places(std::slice::from_ref(key), 1) {
                assert_eq!(ours, theirs, "{key:?}");
            }
        }
    }

    fn component() -> impl Strategy<Value = Component<'static>> {
        let number = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
        prop_oneof![
            Just(Component::Undefined),
            Just(Component::Null),
            any::<bool>().prop_map(Component::Bool),
            number.prop_map(Component::Number),
            any::<i64>().prop_map(|number| Component::Number(number as f64)),
            any::<String>().prop_map(text),
            "[a-zé日😀]{0,130}".prop_map(text),
        ]
    }

    proptest! {
        #[test]
        fn random_keys_lie_where_the_driver_says(key in component()) {
            for (ours, theirs) in places(&[key], 1) {
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn random_hierarchical_keys_and_their_prefixes_lie_where_the_driver_says(
            key in prop::collection::vec(component(), 2..=3),
        ) {
            for levels in 1..=key.len() {
                for (ours, theirs) in places(&key[..levels], key.len()) {
                    prop_assert_eq!(ours, theirs);
                }
            }
        }
    }
}
