//! The one file that knows Microsoft's driver: what docferry asks of Cosmos, in docferry's own words.
//!
//! **The door.** The service takes a request of many documents with many keys, which its JavaScript client calls *bulk*. The Rust driver has no
//! call for it, but its calls are open enough: an item is created whose body is the array of operations, with an empty partition
//! key and three more headers. The driver signs it, finds the region and keeps the connections as for any other. That way is public, and not
//! promised; so its first answer is looked at before it is relied on (`lane.rs`), and the driver's version is pinned.
//!
//! **What is switched off, and why.** *Throttle retries*: a lane must see every 429, or its pace is not its own. *Failover retries*: the driver would send a
//! write again up to three times, at once and without leave, after 408, 410, 5xx and a lost connection, and tell of the last answer alone; a run sends it again
//! itself, later, and books each. With them goes the driver's own move to another of several write regions. A 449 it sends again whatever is
//! asked, so what all attempts cost together is booked. *Session tokens*: a writer never
//! reads its own writes, and the token of many partitions grows to kilobytes a request. *Binary encoding*: documents go out as
//! their own bytes. *Gateway 2.0*: it drops headers that it does not know, so the door is not there. *The circuit breaker of a partition*: the empty key
//! of a bulk request is booked under the first partition, which would be blamed for all.

use crate::connector::cosmos::account::{Account, Secret};
use crate::connector::cosmos::answer::{Reply, believed, obeyed};
use crate::connector::cosmos::container::Shape;
use crate::connector::cosmos::local::{self, LocalAddress};
use crate::connector::cosmos::{Priority, TargetOptions, system};
use crate::error::{Error, ErrorKind, Result};
use crate::model::json::{Field, Index, Objects, index};
use crate::model::partition_key::{Component, Epk, Kind, PartitionKey, PartitionKeyDefinition, Version};
use azure_data_cosmos_driver::models::{
    AccountReference, ContainerReference, ContinuationToken, CosmosOperation, CosmosRequestHeaders,
    CosmosResponse, DatabaseReference, EffectivePartitionKey, FeedRange, ItemReference, MaxItemCountHint,
    OfferAutoscaleSettings, PartitionKey as Key, PartitionKeyValue, ResponseBody,
};
use azure_data_cosmos_driver::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, ContentResponseOnWrite, OperationOptions,
    PartitionFailoverOptions, PlanOptions, PriorityLevel, ThrottlingRetryOptionsBuilder,
    ThroughputControlOptionsBuilder,
};
use azure_data_cosmos_driver::{
    CosmosDriver, CosmosDriverRuntime, CosmosError, DriverOptions, OperationPlan,
};
use std::error::Error as _;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for an answer. The driver's six seconds are for single documents; a hundred of them on a busy partition take longer.
const PATIENCE: Duration = Duration::from_secs(30);

const CONNECTING: &str = "connecting to Cosmos";

/// An account, connected to.
pub(super) struct Client {
    driver: Arc<CosmosDriver>,
    account: AccountReference,
}

/// A container, found.
#[derive(Clone)]
pub(super) struct Container {
    driver: Arc<CosmosDriver>,
    reference: ContainerReference,
    writing: OperationOptions,
}

/// A physical partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) id: String,
    pub(super) min: Epk,
    pub(super) max: Epk,
}

/// What is done to one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Upsert,
    Create,
    Replace,
    Delete,
}

/// Where the bulk requests of one physical partition go in.
pub(super) struct Door {
    driver: Arc<CosmosDriver>,
    item: ItemReference,
    options: OperationOptions,
}

/// A document of a page.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    /// Without the service's own fields.
    pub(super) text: Vec<u8>,
    /// What tells it from all others of its container ([`system::mark`]).
    pub(super) mark: u64,
}

/// The documents of one range, page by page.
pub(super) struct Pages {
    driver: Arc<CosmosDriver>,
    reference: ContainerReference,
    plan: OperationPlan,
    options: OperationOptions,
}

impl Client {
    /// Connects to the account; the local endpoint is started if need be.
    pub(super) async fn of(account: &Account) -> Result<Self> {
        match account {
            Account::Local => {
                let LocalAddress { endpoint, key } = local::address().await?;
                Self::connect(&endpoint, &key).await
            }
            Account::Remote { endpoint, key: Some(key) } => Self::connect(endpoint, key).await,
            Account::Remote { endpoint, key: None } => {
                Err(Error::new(ErrorKind::Authentication, CONNECTING, "there is no key for the account")
                    .with("endpoint", endpoint)
                    .advise("set COSMOS_KEY, or COSMOS_KEY_FILE to a file that holds it"))
            }
        }
    }

    async fn connect(endpoint: &str, key: &Secret) -> Result<Self> {
        let refused = |cause: CosmosError| failure(CONNECTING, &cause).with("endpoint", endpoint);
        let url = endpoint.parse().map_err(|_| {
            Error::configuration(CONNECTING, "the endpoint is no address").with("endpoint", endpoint)
        })?;
        let account = AccountReference::with_account_key(url, key.reveal().to_owned());
        let pool = ConnectionPoolOptions::builder()
            .with_gateway_v2_disabled(true)
            .with_max_dataplane_request_timeout(PATIENCE)
            .build()
            .map_err(refused)?;
        if !pool.gateway_v2_disabled() {
            let message = "the environment forces Gateway 2.0, which drops the headers of bulk requests";
            return Err(Error::configuration(CONNECTING, message)
                .advise("unset AZURE_COSMOS_CONNECTION_POOL_GATEWAY_V2_DISABLED_OVERRIDE"));
        }
        let runtime = CosmosDriverRuntime::builder().with_connection_pool(pool);
        let runtime = Box::pin(runtime.build()).await.map_err(refused)?;
        let failover = PartitionFailoverOptions::builder()
            .with_circuit_breaker_enabled(false)
            .build()
            .map_err(refused)?;
        let options =
            DriverOptions::builder(account.clone()).with_partition_failover_options(failover).build();
        let driver = Box::pin(runtime.create_driver(options)).await.map_err(refused)?;
        Ok(Self { driver, account })
    }

    /// The container; `None` if it, or its database, does not exist.
    pub(super) async fn container(
        &self,
        database: &str,
        name: &str,
        target: Option<&TargetOptions>,
    ) -> Result<Option<Container>> {
        let resolved = Box::pin(self.driver.resolve_container(database, name, reading())).await;
        match resolved {
            Ok(reference) => {
                let driver = Arc::clone(&self.driver);
                Ok(Some(Container { driver, reference, writing: writing(target) }))
            }
            // Whatever the substatus: the container, or the database that it would be in.
            Err(cause) if numbers(cause.status()).0 == 404 => Ok(None),
            Err(cause) => Err(failure("opening the container", &cause).with("container", name)),
        }
    }

    /// Request units per second that the container has as its own; `None` where that is not to be known: it shares its database's, the account
    /// has none to give, or whoever signs in may not see it.
    pub(super) async fn throughput(&self, container: &Container) -> Option<f64> {
        let query = serde_json::json!({
            "query": "SELECT * FROM c WHERE c.offerResourceId = @rid",
            "parameters": [{ "name": "@rid", "value": container.reference.rid() }],
        });
        let operation =
            CosmosOperation::query_offers(self.account.clone()).with_body(query.to_string().into_bytes());
        let answer = Box::pin(self.driver.execute_operation(operation, reading())).await.ok()??;
        let offer = |body: &[u8]| throughput_of(&serde_json::from_slice(body).ok()?);
        match answer.into_body() {
            ResponseBody::NoPayload => None,
            ResponseBody::Items(offers) => offers.iter().find_map(|body| offer(body)),
            ResponseBody::Bytes(envelope) => {
                let envelope = serde_json::from_slice::<serde_json::Value>(&envelope).ok()?;
                envelope.get("Offers")?.as_array()?.iter().find_map(throughput_of)
            }
        }
    }

    /// Creates database and container where they are missing.
    pub(super) async fn create(&self, database: &str, name: &str, shape: &Shape) -> Result<()> {
        let body = serde_json::json!({ "id": database }).to_string().into_bytes();
        let operation = CosmosOperation::create_database(self.account.clone()).with_body(body);
        self.created(operation, "creating the database").await?;
        let parent = DatabaseReference::from_name(self.account.clone(), database.to_owned());
        let mut headers = CosmosRequestHeaders::new();
        headers.offer_throughput = shape.throughput;
        headers.offer_autopilot_settings = shape.autoscale.map(OfferAutoscaleSettings::new);
        let operation = CosmosOperation::create_container(parent).with_body(shape.body(name));
        self.created(operation.with_request_headers(headers), "creating the container").await
    }

    /// Runs an operation that creates; that someone else was first is as good.
    async fn created(&self, operation: CosmosOperation, what: &'static str) -> Result<()> {
        match Box::pin(self.driver.execute_singleton_operation(operation, reading())).await {
            Ok(_) => Ok(()),
            Err(cause) if cause.status().is_conflict() => Ok(()),
            Err(cause) => Err(failure(what, &cause)),
        }
    }
}

impl Container {
    /// What tells this container from every other, also from one that took its name.
    pub(super) fn identity(&self) -> String {
        format!("cosmos container {} in database {}", self.reference.rid(), self.reference.database_rid())
    }

    pub(super) fn definition(&self) -> Result<PartitionKeyDefinition> {
        let found = self.reference.partition_key_definition();
        let paths = found.paths().iter().map(|path| path.clone().into_owned()).collect();
        // "Range" is a relic that the service has not given to a new container for years; its hash is that of kind Hash.
        let kind = if found.paths().len() > 1 { Kind::MultiHash } else { Kind::Hash };
        let version = if found.version().value() == 1 { Version::V1 } else { Version::V2 };
        PartitionKeyDefinition::new(paths, kind, version)
    }

    /// The physical partitions in the order of their ranges; `anew`: as they are now, not as they were when last asked for.
    pub(super) async fn ranges(&self, anew: bool) -> Result<Vec<Range>> {
        const READING: &str = "reading the container's partitions";
        let ranges = Box::pin(self.driver.resolve_all_partition_key_ranges(&self.reference, anew)).await;
        let ranges = ranges.map_err(|cause| failure(READING, &cause))?;
        let damaged = || Error::new(ErrorKind::Unavailable, READING, "the answer is not understood");
        let ours = |range: &azure_data_cosmos_driver::models::partition_key_range::PartitionKeyRange| {
            let place = |hex: String| Epk::from_hex(&hex);
            let (min, max) = (place(range.min_inclusive.to_hex())?, place(range.max_exclusive.to_hex())?);
            Some(Range { id: range.id.clone(), min, max })
        };
        ranges.ok_or_else(damaged)?.iter().map(ours).collect::<Option<_>>().ok_or_else(damaged)
    }

    /// Where the bulk requests of a physical partition go in.
    pub(super) fn door(&self, range: &str) -> Result<Door> {
        let empty = Key::try_from(Vec::new()).map_err(|cause| failure("opening a lane", &cause))?;
        let mut options = self.writing.clone();
        let headers = [
            ("x-ms-cosmos-is-batch-request", "true".to_owned()),
            ("x-ms-cosmos-batch-atomic", "false".to_owned()),
            ("x-ms-cosmos-batch-continue-on-error", "true".to_owned()),
            ("x-ms-documentdb-partitionkeyrangeid", range.to_owned()),
        ];
        options.custom_headers =
            Some(headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        // The name is part of no address: a document is created under the container's.
        let item = ItemReference::from_name(&self.reference, empty, "bulk");
        Ok(Door { driver: Arc::clone(&self.driver), item, options })
    }

    /// Sends operations that all have this partition key, all or none of which are done.
    pub(super) async fn batch(&self, key: &PartitionKey<'_>, body: Vec<u8>) -> Result<Reply> {
        let operation = CosmosOperation::batch(self.reference.clone(), key_of(key)?).with_body(body);
        Ok(run(&self.driver, operation, self.writing.clone()).await)
    }

    /// Sends one document, or only its id to have it deleted.
    pub(super) async fn point(
        &self,
        verb: Verb,
        key: &PartitionKey<'_>,
        id: String,
        body: Vec<u8>,
    ) -> Result<Reply> {
        let item = ItemReference::from_name(&self.reference, key_of(key)?, id);
        let operation = match verb {
            Verb::Upsert => CosmosOperation::upsert_item(item).with_body(body),
            Verb::Create => CosmosOperation::create_item(item).with_body(body),
            Verb::Replace => CosmosOperation::replace_item(item).with_body(body),
            Verb::Delete => CosmosOperation::delete_item(item),
        };
        Ok(run(&self.driver, operation, self.writing.clone()).await)
    }

    /// Reads one document.
    pub(super) async fn read(&self, key: &PartitionKey<'_>, id: String) -> Result<Reply> {
        let item = ItemReference::from_name(&self.reference, key_of(key)?, id);
        Ok(run(&self.driver, CosmosOperation::read_item(item), reading()).await)
    }

    /// The documents of a range, from where the token was taken on. `most` is the number of documents in a page; `None` leaves it to the service.
    pub(super) async fn pages(
        &self,
        range: &Range,
        token: Option<&str>,
        most: Option<NonZeroU32>,
    ) -> Result<Pages> {
        let damaged = |cause: CosmosError| failure("reading from Cosmos", &cause).with("range", &range.id);
        // By its bounds, which stay what they are when it is divided; its name is gone then.
        let place = |place: &Epk| EffectivePartitionKey::try_from(place.to_string());
        let (min, max) = (place(&range.min).map_err(damaged)?, place(&range.max).map_err(damaged)?);
        let range = FeedRange::new(min, max).map_err(damaged)?;
        let operation = CosmosOperation::query_items(self.reference.clone(), Some(range))
            .with_body(br#"{"query":"SELECT * FROM c","parameters":[]}"#.to_vec())
            .with_max_item_count(most.map_or(MaxItemCountHint::ServerDecides, MaxItemCountHint::Limit));
        let (options, fan_out) = (reading(), PlanOptions::default());
        let token = token.map(|token| ContinuationToken::from_string(token.to_owned()));
        let plan = self.driver.plan_operation(operation, &options, token.as_ref(), &fan_out);
        let plan = Box::pin(plan).await.map_err(damaged)?;
        Ok(Pages { driver: Arc::clone(&self.driver), reference: self.reference.clone(), plan, options })
    }
}

impl Door {
    pub(super) async fn send(&self, body: Vec<u8>) -> Reply {
        let operation = CosmosOperation::create_item(self.item.clone()).with_body(body);
        run(&self.driver, operation, self.options.clone()).await
    }
}

impl Pages {
    /// The documents of the next page; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Found>>> {
        let damaged = |cause: CosmosError| failure("reading from Cosmos", &cause);
        let (reference, options) = (self.reference.clone(), self.options.clone());
        let page = self.driver.execute_plan(&mut self.plan, Some(reference), options);
        let Some(page) = Box::pin(page).await.map_err(damaged)? else { return Ok(None) };
        match page.into_body() {
            ResponseBody::NoPayload => Ok(Some(Vec::new())),
            ResponseBody::Items(documents) => {
                Ok(Some(documents.iter().map(|item| Found::alone(item)).collect()))
            }
            // As the service sent it: the documents lie in an array.
            ResponseBody::Bytes(envelope) => documents_of(&envelope).map(Some).ok_or_else(|| {
                Error::new(ErrorKind::Unavailable, "reading from Cosmos", "the answer is not understood")
            }),
        }
    }

    /// What [`Container::pages`] needs to go on behind the last page.
    pub(super) fn token(&self) -> Result<String> {
        let token = self.plan.to_continuation_token();
        token.map(|token| token.as_str().to_owned()).map_err(|cause| failure("reading from Cosmos", &cause))
    }
}

/// How documents are written; see the top of this file.
fn writing(target: Option<&TargetOptions>) -> OperationOptions {
    let mut options = OperationOptions::default();
    options.content_response_on_write = Some(ContentResponseOnWrite::Disabled);
    options.session_capturing_disabled = Some(true);
    options.throttling_retry_options =
        Some(ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build());
    options.max_failover_retry_count = Some(0);
    options.binary_encoding = Some(BinaryEncodingOptions::new().with_enabled(false));
    let Some(target) = target else { return options };
    if target.priority.is_some() || target.throughput_bucket.is_some() {
        let mut control = ThroughputControlOptionsBuilder::new();
        if let Some(priority) = target.priority {
            control = control.with_priority_level(match priority {
                Priority::High => PriorityLevel::High,
                Priority::Low => PriorityLevel::Low,
            });
        }
        if let Some(bucket) = target.throughput_bucket {
            control = control.with_throughput_bucket(bucket);
        }
        options.throughput_control = Some(control.build());
    }
    options
}

/// How documents and properties are read. Nobody paces a reader yet, so the driver waits where it is throttled.
fn reading() -> OperationOptions {
    let mut options = OperationOptions::default();
    options.session_capturing_disabled = Some(true);
    options.binary_encoding = Some(BinaryEncodingOptions::new().with_enabled(false));
    options
}

fn key_of(key: &PartitionKey<'_>) -> Result<Key> {
    let refused = |cause: CosmosError| failure("reading a partition key", &cause);
    let value = |component: &Component<'_>| match component {
        Component::Undefined => Ok(PartitionKeyValue::UNDEFINED),
        Component::Null => Ok(PartitionKeyValue::NULL),
        Component::Bool(flag) => Ok(PartitionKeyValue::from(*flag)),
        Component::Number(number) => PartitionKeyValue::try_from(*number),
        Component::Text(text) => Ok(PartitionKeyValue::from(text.clone().into_owned())),
    };
    let values = key.components.iter().map(value).collect::<Result<Vec<_>, _>>().map_err(refused)?;
    Key::try_from(values).map_err(refused)
}

/// Runs an operation. A refusal is an answer like any other.
async fn run(driver: &CosmosDriver, operation: CosmosOperation, options: OperationOptions) -> Reply {
    match Box::pin(driver.execute_singleton_operation(operation, options)).await {
        Ok(response) => {
            let status = response.status();
            let mut reply = answered(&response);
            (reply.status, reply.substatus) = numbers(status);
            reply.body = bytes(response);
            reply
        }
        Err(cause) => refused(&cause),
    }
}

fn refused(cause: &CosmosError) -> Reply {
    let mut reply = cause.response().map(answered).unwrap_or_default();
    (reply.status, reply.substatus) = numbers(cause.status());
    reply.is_from_service = cause.response().is_some();
    match cause.response() {
        Some(response) => reply.body = bytes(response.clone()),
        None => reply.body = innermost(cause).into_bytes(),
    }
    reply
}

/// Why there was no answer, on one line: the innermost cause ("Connection refused"), not where in the driver it came about.
fn innermost(cause: &CosmosError) -> String {
    let causes = std::iter::successors(cause.source(), |&deeper| deeper.source());
    causes.last().map_or_else(|| cause.to_string(), |innermost| format!("no answer: {innermost}"))
}

fn numbers(status: azure_data_cosmos_driver::CosmosStatus) -> (u16, u16) {
    (status.status_code().into(), status.sub_status().map_or(0, |code| code.value()))
}

fn answered(response: &CosmosResponse) -> Reply {
    let headers = response.headers();
    let last = headers.request_charge.map_or(0.0, |charge| believed(charge.value()));
    let attempts = response.diagnostics_ref();
    let all =
        if attempts.request_count() > 1 { believed(attempts.total_request_charge().value()) } else { last };
    Reply {
        request_units: all.max(last),
        earlier_units: (all - last).max(0.0),
        retry_after: headers.retry_after_ms.map(obeyed),
        is_from_service: true,
        ..Reply::default()
    }
}

fn bytes(response: CosmosResponse) -> Vec<u8> {
    match response.into_body() {
        ResponseBody::Bytes(bytes) => bytes.to_vec(),
        ResponseBody::NoPayload | ResponseBody::Items(_) => Vec::new(),
    }
}

/// What an offer offers: where it scales by itself, the most.
fn throughput_of(offer: &serde_json::Value) -> Option<f64> {
    let content = offer.get("content")?;
    let autoscale = content.pointer("/offerAutopilotSettings/maxThroughput");
    autoscale.or_else(|| content.get("offerThroughput"))?.as_f64().filter(|units| *units > 0.0)
}

/// The documents of a page, in one pass over it.
fn documents_of(envelope: &[u8]) -> Option<Vec<Found>> {
    let mut objects = Objects::of_field(envelope, "Documents").ok()?;
    let (mut fields, mut documents) = (Vec::new(), Vec::new());
    while let Some(place) = objects.next(&mut fields).ok()? {
        documents.push(Found::of(envelope, place, &fields));
    }
    Some(documents)
}

impl Found {
    /// The document at `place`, whose fields are known.
    fn of(text: &[u8], place: std::ops::Range<usize>, fields: &[Field]) -> Self {
        let mut document = Vec::with_capacity(place.len());
        system::write_fields(text, place.clone(), fields, &mut document);
        Self { text: document, mark: system::mark(text, place, fields) }
    }

    fn alone(item: &[u8]) -> Self {
        let mut found = Index::default();
        // One that is malformed is taken as it is, and told by whoever reads it.
        let fields = index(item, &mut found).map_or(&[][..], |()| &found.fields);
        Self::of(item, 0..item.len(), fields)
    }
}

/// A failure of the driver as one of ours.
fn failure(operation: &'static str, cause: &CosmosError) -> Error {
    refused(cause).into_error(operation)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Container").field(&self.identity()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::cosmos::limits;
    use crate::model::document::Document;
    use proptest::prelude::*;

    proptest! {
        /// The driver puts an id into an address as this does. Whatever is let through must come out of it as it went in.
        #[test]
        fn an_address_names_the_document_that_was_meant(
            id in prop_oneof![Just("..".to_owned()), Just(".".to_owned()), r"[.%/\\?#@:;+ a2eE\t\n\r\x00\x7f\u{e9}\u{1f600}\u{200b}]{1,8}", ".{1,16}"],
        ) {
            let document = serde_json::json!({ "id": id }).to_string();
            let document = Document { bytes: document.as_bytes(), ..Document::default() };
            let is_taken = limits::id(&document).is_ok_and(|id| limits::address(&id).is_ok());
            let address = "https://account/".parse().unwrap();
            let mut address = AccountReference::with_account_key(address, "key").endpoint().clone();
            address.set_path(&format!("/dbs/d/colls/c/docs/{id}").replace('%', "%25"));
            let last = address.path().strip_prefix("/dbs/d/colls/c/docs/").map(decoded);
            let is_whole = address.query().is_none() && address.fragment().is_none();
            if is_taken {
                prop_assert_eq!(last, Some(id.into_bytes()), "{}", address);
                prop_assert!(is_whole);
            }
        }
    }

    /// Without percent-encoding.
    fn decoded(text: &str) -> Vec<u8> {
        let mut parts = text.split('%');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    }

    #[test]
    fn a_page_holds_documents_without_what_the_service_adds() {
        let documents = |page: &str| {
            let text = |document: Found| String::from_utf8(document.text).unwrap();
            documents_of(page.as_bytes()).map(|found| found.into_iter().map(text).collect::<Vec<_>>())
        };
        let page =
            r#"{"_rid":"c","Documents":[{"id":"a","n":1.10,"_rid":"r","_ts":1}, {"id":"b" }],"_count":2}"#;
        assert_eq!(documents(page).unwrap(), [r#"{"id":"a","n":1.10}"#, r#"{"id":"b" }"#]);
        assert_eq!(documents(r#"{"Documents":[]}"#).unwrap(), [""; 0]);
        assert_eq!(documents(&page[..page.len() - 1]), None, "cut off");
        assert_eq!(documents(r#"{"Documents":[1]}"#), None);
        let found = documents_of(page.as_bytes()).unwrap();
        assert_eq!(Found::alone(br#"{"id":"a","n":1.10,"_rid":"r","_ts":1}"#), found[0]);
        assert_eq!(Found::alone(br#"{"id":"b" }"#), found[1]);
    }
}
