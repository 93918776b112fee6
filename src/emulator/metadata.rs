//! The account, its databases and containers, their ranges and their throughput.

use super::Account;
use super::answer::{Answer, Asked};
use super::catalog::{Catalog, Change, Database, definition};
use super::charge::{Charged, charge};
use super::container::{Container, Offer};
use super::stored::resource_id;
use crate::error::Error;
use crate::model::partition_key::{Kind, Version};
use http::Method;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The least throughput of a container that is made, and the steps in which it is offered. What it is changed to may be anything, as may what `--throughput`
/// gives to containers that name none: somebody wants to see what happens.
const LEAST_THROUGHPUT: u64 = 400;
const STEP: u64 = 100;
/// The same of the most that an autoscaled container has.
const LEAST_MOST: u64 = 1_000;
const STEP_OF_MOST: u64 = 1_000;

pub(super) type Outcome = Result<Answer, Answer>;

fn found(status: u16, body: &Value) -> Answer {
    let answer = Answer::json(status, body).charged(charge(Charged::Metadata, 0));
    match body.get("_etag").and_then(Value::as_str) {
        Some(etag) => answer.with("etag", etag),
        None => answer,
    }
}

fn conflict() -> Answer {
    Answer::failure(409, "Resource with specified id or name already exists.")
}

pub(super) fn missing() -> Answer {
    // 1003: the owner of what was asked for is not there.
    Answer::failure(404, "Resource Not Found").substatus(1003)
}

pub(super) fn refused(error: &Error) -> Answer {
    let status = if error.kind() == crate::error::ErrorKind::InvalidInput
        || error.kind() == crate::error::ErrorKind::Configuration
    {
        400
    } else {
        503
    };
    Answer::failure(status, &error.to_string())
}

fn not_served() -> Answer {
    Answer::failure(405, "The emulator does not serve this method here.")
}

/// `GET /`.
pub(super) fn account(account: &Account) -> Answer {
    let here = json!([{ "name": "Emulator", "databaseAccountEndpoint": account.endpoint() }]);
    found(
        200,
        &json!({
            "id": "docferry-emulator", "_self": "", "_rid": "docferry-emulator", "media": "//media/", "addresses": "//addresses/", "_dbs": "//dbs/",
            "writableLocations": here, "readableLocations": here, "enableMultipleWriteLocations": false,
            "userConsistencyPolicy": { "defaultConsistencyLevel": "Session" },
            "userReplicationPolicy": { "asyncReplication": false, "minReplicaSetSize": 1, "maxReplicasetSize": 4 },
            "systemReplicationPolicy": { "minReplicaSetSize": 1, "maxReplicasetSize": 4 },
            "readPolicy": { "primaryReadCoefficient": 1, "secondaryReadCoefficient": 1 }, "queryEngineConfiguration": "{}",
        }),
    )
}

/// `/dbs` and `/dbs/{database}`.
pub(super) fn databases(account: &Account, asked: &Asked, name: Option<&str>) -> Outcome {
    match (&asked.method, name) {
        (method, None) if method == Method::GET || (method == Method::POST && is_query(asked)) => {
            let catalog = account.catalog();
            let all: Vec<Value> =
                catalog.databases.iter().map(|(name, database)| describe_database(name, database)).collect();
            Ok(found(200, &json!({ "_rid": "", "Databases": all, "_count": all.len() })))
        }
        (&Method::POST, None) => {
            let name = new_name(&object(asked)?)?;
            let mut catalog = account.catalog_mut();
            let created = catalog.create_database(&name).map_err(|error| refused(&error))?;
            created.map(|database| found(201, &describe_database(&name, database))).ok_or_else(conflict)
        }
        (&Method::GET, Some(name)) => account
            .catalog()
            .databases
            .get(name)
            .map(|database| found(200, &describe_database(name, database)))
            .ok_or_else(missing),
        (&Method::DELETE, Some(name)) => {
            let mut catalog = account.catalog_mut();
            if !catalog.databases.contains_key(name) {
                return Err(missing());
            }
            catalog
                .change(Change::DropDatabase { name: name.to_owned() })
                .map_err(|error| refused(&error))?;
            Ok(Answer::new(204, "").charged(charge(Charged::Metadata, 0)))
        }
        _ => Err(not_served()),
    }
}

fn is_query(asked: &Asked) -> bool {
    asked.is_set("x-ms-documentdb-isquery")
}

fn object(asked: &Asked) -> Result<Map<String, Value>, Answer> {
    serde_json::from_slice(&asked.body)
        .map_err(|cause| Answer::failure(400, &format!("The body is no JSON object: {cause}.")))
}

fn new_name(body: &Map<String, Value>) -> Result<String, Answer> {
    let name = body.get("id").and_then(Value::as_str).unwrap_or_default();
    let is_fit = !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\\', '?', '#']);
    if is_fit {
        Ok(name.to_owned())
    } else {
        Err(Answer::failure(400, "The id is empty, over 255 bytes, or holds one of / \\ ? #."))
    }
}

fn describe_database(name: &str, database: &Database) -> Value {
    json!({
        "id": name, "_rid": database.rid, "_self": format!("dbs/{}/", database.rid), "_etag": etag(u64::from(database.written_at)),
        "_colls": "colls/", "_users": "users/", "_ts": database.written_at,
    })
}

fn etag(number: u64) -> String {
    format!("\"{number:08x}-0000-0000-0000-000000000000\"")
}

/// `/dbs/{database}/colls` and `/dbs/{database}/colls/{container}`.
pub(super) fn containers(account: &Account, asked: &Asked, database: &str, name: Option<&str>) -> Outcome {
    let link = format!("{database}/{}", name.unwrap_or_default());
    match (&asked.method, name) {
        (&Method::POST, None) if !is_query(asked) => create_container(account, asked, database),
        (&Method::GET | &Method::POST, None) => {
            let catalog = account.catalog();
            let database = catalog.databases.get(database).ok_or_else(missing)?;
            let all: Vec<Value> =
                database.containers.values().map(|container| describe_container(container)).collect();
            Ok(found(200, &json!({ "_rid": database.rid, "DocumentCollections": all, "_count": all.len() })))
        }
        (&Method::GET, Some(_)) => {
            let container = account.container(&link).ok_or_else(missing)?;
            Ok(found(200, &describe_container(&container)))
        }
        (&Method::DELETE, Some(_)) => {
            let mut catalog = account.catalog_mut();
            if catalog.container(&link).is_none() {
                return Err(missing());
            }
            catalog.change(Change::DropContainer { link }).map_err(|error| refused(&error))?;
            Ok(Answer::new(204, "").charged(charge(Charged::Metadata, 0)))
        }
        _ => Err(not_served()),
    }
}

fn create_container(account: &Account, asked: &Asked, database: &str) -> Outcome {
    let body = object(asked)?;
    let link = format!("{database}/{}", new_name(&body)?);
    definition(&body).map_err(|error| refused(&error))?;
    let standard = Offer { throughput: account.options.throughput, autoscale: false };
    let offer = offer_of_headers(asked)?.unwrap_or(standard);
    let mut catalog = account.catalog_mut();
    if !catalog.databases.contains_key(database) {
        return Err(missing());
    }
    let created = catalog
        .create_container(&link, body, account.options.partitions, offer)
        .map_err(|error| refused(&error))?;
    created.map(|container| found(201, &describe_container(&container))).ok_or_else(conflict)
}

fn offer_of_headers(asked: &Asked) -> Result<Option<Offer>, Answer> {
    if let Some(text) = asked.header("x-ms-offer-throughput") {
        return offer(text.parse().ok(), false).map(Some);
    }
    let Some(text) = asked.header("x-ms-cosmos-offer-autopilot-settings") else { return Ok(None) };
    let settings: Value = serde_json::from_str(text).unwrap_or_default();
    offer(settings.get("maxThroughput").and_then(Value::as_u64), true).map(Some)
}

/// An offer of so much, if it is one that the service makes.
fn offer(throughput: Option<u64>, autoscale: bool) -> Result<Offer, Answer> {
    let (least, step) = if autoscale { (LEAST_MOST, STEP_OF_MOST) } else { (LEAST_THROUGHPUT, STEP) };
    let throughput = throughput.filter(|units| *units >= least && units.is_multiple_of(step));
    let refused = || {
        let message = format!("The offered throughput must be at least {least}, in increments of {step}.");
        Answer::failure(400, &message)
    };
    Ok(Offer { throughput: throughput.ok_or_else(refused)?, autoscale })
}

fn describe_container(container: &Container) -> Value {
    let mut body = container.properties.clone();
    let definition = &container.definition;
    let kind = if definition.kind == Kind::Hash { "Hash" } else { "MultiHash" };
    let version = if definition.version == Version::V1 { 1 } else { 2 };
    body.insert(
        "partitionKey".to_owned(),
        json!({ "paths": definition.paths, "kind": kind, "version": version }),
    );
    body.entry("indexingPolicy").or_insert_with(|| {
        json!({ "indexingMode": "consistent", "automatic": true, "includedPaths": [{ "path": "/*" }], "excludedPaths": [{ "path": "/\"_etag\"/?" }] })
    });
    let rid = &container.rid;
    let own = json!({
        "_rid": rid, "_ts": container.written_at, "_self": container_self(container), "_etag": etag(container.number), "_docs": "docs/",
        "_sprocs": "sprocs/", "_triggers": "triggers/", "_udfs": "udfs/", "_conflicts": "conflicts/",
    });
    if let Value::Object(own) = own {
        body.extend(own);
    }
    Value::Object(body)
}

fn container_self(container: &Container) -> String {
    format!("dbs/{}/colls/{}/", super::stored::database_rid(&container.rid), container.rid)
}

/// `/dbs/{database}/colls/{container}/pkranges`: the list of ranges, as a feed of what changed since an ETag.
pub(super) fn ranges(container: &Container, asked: &Asked) -> Outcome {
    if asked.method != Method::GET {
        return Err(not_served());
    }
    let topology = container.topology();
    let etag = format!("\"{}\"", topology.version);
    if asked.header("if-none-match") == Some(&etag) {
        return Ok(Answer::new(304, "").charged(charge(Charged::Metadata, 0)).with("etag", etag));
    }
    let share = 1.0 / topology.partitions.len() as f64;
    let describe = |(at, partition): (usize, &Arc<super::partition::Partition>)| {
        let number = partition.id.parse::<u64>().unwrap_or(at as u64);
        json!({
            "id": partition.id, "minInclusive": partition.min.to_string(), "maxExclusive": partition.max.to_string(),
            "parents": partition.parents, "status": "online", "throughputFraction": share, "ridPrefix": number, "lsn": partition.lock().lsn,
            "_rid": format!("{}{number:08}", container.rid), "_self": format!("{}pkranges/{number}/", container_self(container)),
            "_etag": self::etag(number), "_ts": container.written_at,
        })
    };
    let all: Vec<Value> = topology.partitions.iter().enumerate().map(describe).collect();
    let body = json!({ "_rid": container.rid, "PartitionKeyRanges": all, "_count": all.len() });
    Ok(found(200, &body).with("etag", etag).with("x-ms-item-count", all.len()))
}

/// `/offers` and `/offers/{offer}`: what containers may spend.
pub(super) fn offers(account: &Account, asked: &Asked, id: Option<&str>) -> Outcome {
    let by_id = |catalog: &Catalog, id: &str| {
        catalog.containers().find(|container| offer_id(container) == id).cloned().ok_or_else(missing)
    };
    match (&asked.method, id) {
        (&Method::GET | &Method::POST, None) => {
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            let catalog = account.catalog();
            // A query names the resource id of a container, in its text or as a parameter; nothing else is ever asked of offers.
            let named: Vec<_> =
                catalog.containers().filter(|container| body.contains(&container.rid)).collect();
            let names_one = body.to_ascii_lowercase().contains("offerresourceid");
            let all: Vec<_> = if names_one { named } else { catalog.containers().collect() };
            // Like a container of a serverless account, one without a limit has none.
            let limited = all.into_iter().filter(|container| container.offer().throughput > 0);
            let all: Vec<Value> = limited.map(|container| describe_offer(container)).collect();
            Ok(found(200, &json!({ "_rid": "", "Offers": all, "_count": all.len() }))
                .with("x-ms-item-count", all.len()))
        }
        (&Method::GET, Some(id)) => Ok(found(200, &describe_offer(&*by_id(&account.catalog(), id)?))),
        (&Method::PUT, Some(id)) => {
            let offer = offer_of_body(&object(asked)?)?;
            let mut catalog = account.catalog_mut();
            let container = by_id(&catalog, id)?;
            let change = Change::Throughput { link: container.link.clone(), offer };
            catalog.change(change).map_err(|error| refused(&error))?;
            Ok(found(200, &describe_offer(&container)))
        }
        _ => Err(not_served()),
    }
}

fn offer_of_body(body: &Map<String, Value>) -> Result<Offer, Answer> {
    let content = body.get("content").unwrap_or(&Value::Null);
    let most = content.pointer("/offerAutopilotSettings/maxThroughput");
    let throughput = most.or_else(|| content.get("offerThroughput")).and_then(Value::as_u64);
    throughput
        .filter(|units| *units > 0)
        .map(|throughput| Offer { throughput, autoscale: most.is_some() })
        .ok_or_else(|| Answer::failure(400, "content.offerThroughput is no positive whole number."))
}

/// Offers have short resource ids of their own.
fn offer_id(container: &Container) -> String {
    resource_id(&(container.number as u32).to_be_bytes()[1..])
}

fn describe_offer(container: &Container) -> Value {
    let id = offer_id(container);
    let Offer { throughput, autoscale } = container.offer();
    let mut content = json!({
        "offerThroughput": throughput, "offerIsRUPerMinuteThroughputEnabled": false,
        "offerMinimumThroughputParameters": { "maxThroughputEverProvisioned": throughput }, "offerMinimumThroughput": LEAST_THROUGHPUT,
    });
    if autoscale {
        content["offerAutopilotSettings"] = json!({ "maxThroughput": throughput });
    }
    json!({
        "id": id, "_rid": id, "_self": format!("offers/{id}/"), "_etag": etag(throughput), "_ts": container.written_at,
        "offerVersion": "V2", "offerType": "Invalid", "resource": container_self(container), "offerResourceId": container.rid,
        "content": content,
    })
}
