//! What a container is to be like: read from the settings, written as the service wants it, compared with what there is.

use crate::error::{Error, Result};
use crate::model::partition_key::{Kind, PartitionKeyDefinition, Version};
use crate::model::settings::Section;
use serde_json::{Map, Value, json};

/// The properties of a container that is created.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// The paths of the partition key; empty where the settings say nothing.
    pub partition_key: Vec<String>,
    /// Request units per second, fixed.
    pub throughput: Option<u64>,
    /// Request units per second at most, where they scale by themselves.
    pub autoscale: Option<u64>,
    /// Seconds that documents live; -1: as each says.
    pub ttl: Option<i64>,
    /// How fields are indexed.
    pub indexing_policy: Option<Value>,
    /// Which fields are vectors.
    pub vector_policy: Option<Value>,
}

/// The partition key of a container that is created when nothing is said: every document has an id, and no two share it.
const DEFAULT_KEY: &str = "/id";

impl Shape {
    /// Reads the settings that describe a container.
    pub(super) fn read(section: &mut Section) -> Option<Self> {
        let partition_key = section.texts("partition_key");
        let throughput = offered(section, "throughput", 100, 400);
        let autoscale = offered(section, "autoscale", 1_000, 1_000);
        let ttl = section.number_or("ttl", -1.0..=f64::from(i32::MAX), 0.0);
        let indexing_policy = policy(section, "indexing_policy");
        let vector_policy = policy(section, "vector_policy");
        if throughput > 0 && autoscale > 0 {
            section.problem("autoscale", "stands beside throughput; give one of the two");
        }
        if ttl.fract() != 0.0 {
            section.problem("ttl", format!("must be a whole number, found {ttl}"));
        }
        if partition_key.iter().any(|path| path.contains(',')) {
            let message =
                "holds a comma; several paths are a list, or in a URI partition_key=/a&partition_key=/b";
            section.problem("partition_key", message);
            return None;
        }
        if let Err(error) = define(&partition_key)
            && !partition_key.is_empty()
        {
            section.problem("partition_key", error.to_string());
            return None;
        }
        Some(Self {
            partition_key,
            throughput: Some(throughput).filter(|units| *units > 0),
            autoscale: Some(autoscale).filter(|units| *units > 0),
            ttl: Some(ttl as i64).filter(|seconds| *seconds != 0),
            indexing_policy: indexing_policy?,
            vector_policy: vector_policy?,
        })
    }

    /// The paths of the partition key of a new container.
    fn paths(&self) -> Vec<String> {
        if self.partition_key.is_empty() { vec![DEFAULT_KEY.to_owned()] } else { self.partition_key.clone() }
    }

    /// The definition of the partition key of a new container.
    pub(super) fn definition(&self) -> Result<PartitionKeyDefinition> {
        define(&self.paths())
    }

    /// The body of the request that creates the container.
    pub(super) fn body(&self, name: &str) -> Vec<u8> {
        let paths = self.paths();
        let kind = if paths.len() > 1 { "MultiHash" } else { "Hash" };
        let mut body = Map::new();
        body.insert("id".to_owned(), name.into());
        body.insert("partitionKey".to_owned(), json!({"paths": paths, "kind": kind, "version": 2}));
        let more = [
            ("defaultTtl", self.ttl.map(Value::from)),
            ("indexingPolicy", self.indexing_policy.clone()),
            ("vectorEmbeddingPolicy", self.vector_policy.clone()),
        ];
        body.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Value::Object(body).to_string().into_bytes()
    }

    /// Refuses a container whose partition key is not the one that the settings ask for: it cannot be changed afterwards.
    pub(super) fn must_fit(&self, found: &PartitionKeyDefinition, container: &str) -> Result<()> {
        if self.partition_key.is_empty() || self.partition_key == found.paths {
            return Ok(());
        }
        let message = format!(
            "the container's partition key is {}, the settings say {}",
            found.paths.join(" "),
            self.partition_key.join(" ")
        );
        Err(Error::configuration("opening the container", message)
            .with("container", container)
            .advise("correct partition_key, or name another container: a partition key cannot be changed"))
    }
}

/// The definition of a new container's key.
fn define(paths: &[String]) -> Result<PartitionKeyDefinition> {
    let kind = if paths.len() > 1 { Kind::MultiHash } else { Kind::Hash };
    PartitionKeyDefinition::new(paths.to_vec(), kind, Version::V2)
}

/// Request units per second as the service offers them: in such steps, and from so many on.
fn offered(section: &mut Section, name: &'static str, step: u64, least: u64) -> u64 {
    // A million is the most that the service gives without being asked in person.
    let units = section.count_or(name, 0..=1_000_000, 0);
    if units > 0 && (units < least || !units.is_multiple_of(step)) {
        section.problem(name, format!("must be 0, or a multiple of {step} from {least} on, found {units}"));
    }
    units
}

/// A policy, given as JSON text. The outer `None` is a problem, which has been noted.
fn policy(section: &mut Section, name: &'static str) -> Option<Option<Value>> {
    let Some(text) = section.text(name) else { return Some(None) };
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Some(Some(value)),
        Ok(_) => {
            section.problem(name, "must be a JSON object");
            None
        }
        Err(cause) => {
            section.problem(name, format!("must be JSON: {cause}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::{Origin, Setting, Value as Given};

    fn shape(entries: &[(&str, Given)]) -> (Option<Shape>, Vec<String>) {
        let setting = |value: &Given| Setting { value: value.clone(), origin: Origin::BuiltIn };
        let entries = entries.iter().map(|(name, value)| ((*name).to_owned(), setting(value))).collect();
        let mut section = Section::new("target", Origin::BuiltIn, entries);
        let shape = Shape::read(&mut section);
        (shape, section.finish().1.iter().map(ToString::to_string).collect())
    }

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    #[test]
    fn a_container_is_written_as_the_service_wants_it() {
        let keys = [text("/tenant"), text("/user")].map(|value| Setting { value, origin: Origin::BuiltIn });
        let (found, problems) = shape(&[
            ("partition_key", Given::List(keys.into())),
            ("ttl", Given::Integer(-1)),
            ("indexing_policy", text(r#"{"indexingMode":"consistent"}"#)),
        ]);
        assert_eq!(problems, [""; 0]);
        let body = String::from_utf8(found.unwrap().body("orders")).unwrap();
        assert_eq!(
            body,
            r#"{"id":"orders","partitionKey":{"paths":["/tenant","/user"],"kind":"MultiHash","version":2},"defaultTtl":-1,"indexingPolicy":{"indexingMode":"consistent"}}"#
        );
        let plain = String::from_utf8(Shape::default().body("a")).unwrap();
        assert_eq!(plain, r#"{"id":"a","partitionKey":{"paths":["/id"],"kind":"Hash","version":2}}"#);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |name, value| shape(&[(name, value)]).1.join("; ");
        assert!(said("partition_key", text("tenant")).contains("is not a path such as /a/b"));
        assert!(said("partition_key", text("/a,/b")).starts_with("target.partition_key: holds a comma; "));
        assert_eq!(said("vector_policy", text("[1]")), "target.vector_policy: must be a JSON object");
        let twice = [text("/a"), text("/a")].map(|value| Setting { value, origin: Origin::BuiltIn });
        assert!(said("partition_key", Given::List(twice.into())).ends_with("the path /a stands there twice"));
        let both = shape(&[("throughput", Given::Integer(400)), ("autoscale", Given::Integer(4000))]).1;
        assert_eq!(both, ["target.autoscale: stands beside throughput; give one of the two"]);
    }

    /// As the service would, once everything else is under way.
    #[test]
    fn throughput_that_the_service_does_not_offer_is_refused() {
        let said = |name, units| shape(&[(name, Given::Integer(units))]).1.join("; ");
        for units in [0, 400, 500, 1_000_000] {
            assert_eq!(said("throughput", units), "", "{units}");
        }
        for units in [0, 1_000, 4_000] {
            assert_eq!(said("autoscale", units), "", "{units}");
        }
        for units in [1, 300, 450] {
            assert_eq!(
                said("throughput", units),
                format!("target.throughput: must be 0, or a multiple of 100 from 400 on, found {units}")
            );
        }
        for units in [400, 1_500] {
            assert_eq!(
                said("autoscale", units),
                format!("target.autoscale: must be 0, or a multiple of 1000 from 1000 on, found {units}")
            );
        }
    }

    #[test]
    fn another_key_is_refused() {
        let found = define(&["/a".to_owned()]).unwrap();
        assert!(Shape::default().must_fit(&found, "c").is_ok());
        let wanted = Shape { partition_key: vec!["/b".to_owned()], ..Shape::default() };
        let error = wanted.must_fit(&found, "c").unwrap_err().to_string();
        assert_eq!(
            error,
            "opening the container: the container's partition key is /a, the settings say /b (container: c)"
        );
    }
}
