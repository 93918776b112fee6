//! The two bare loops.

use crate::Result;
use azure_data_cosmos::AccountEndpoint;
use azure_data_cosmos_driver::models::{
    AccountReference, ContainerReference, CosmosOperation, FeedRange, ItemReference, PartitionKey,
    ResponseBody,
};
use azure_data_cosmos_driver::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, ContentResponseOnWrite, OperationOptions,
    PartitionFailoverOptions, ThrottlingRetryOptionsBuilder,
};
use azure_data_cosmos_driver::{CosmosDriver, CosmosDriverRuntime, DriverOptions};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Requests under way: as many as docferry has by itself.
const DOORS: u32 = 8;

/// Points under way: as many as docferry has in eight requests of sixteen at once.
const POINTS: u32 = 128;

/// Operations in a request: what the service takes.
const OPERATIONS: usize = 100;

/// A document, and what was known of it beforehand.
#[derive(Clone, Copy)]
pub(crate) struct Document {
    bytes: &'static [u8],
    id: &'static str,
    key: &'static str,
}

/// Cuts the lines of `make_documents.py`, which begin with id and partition key.
pub(crate) fn documents(text: &'static [u8]) -> Result<Vec<Document>> {
    let within = |line: &'static [u8], name: &str| -> Result<&'static str> {
        let from = memchr::memmem::find(line, name.as_bytes()).ok_or("a document without id or key")?;
        let value = &line[from + name.len()..];
        Ok(std::str::from_utf8(&value[..memchr::memchr(b'"', value).ok_or("an open string")?])?)
    };
    let document = |line: &'static [u8]| -> Result<Document> {
        Ok(Document { bytes: line, id: within(line, r#""id":""#)?, key: within(line, r#""customer":""#)? })
    };
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(document).collect()
}

/// The container, and how it is written to.
pub(crate) struct Account {
    driver: Arc<CosmosDriver>,
    container: ContainerReference,
    options: OperationOptions,
}

impl Account {
    /// With what docferry switches off switched off.
    pub(crate) async fn connect(endpoint: &str, key: &str) -> Result<Self> {
        let url = endpoint.parse::<AccountEndpoint>()?.into_url();
        let account = AccountReference::with_account_key(url, key.to_owned());
        let pool = ConnectionPoolOptions::builder().with_gateway_v2_disabled(true).build()?;
        let runtime = Box::pin(CosmosDriverRuntime::builder().with_connection_pool(pool).build()).await?;
        let failover = PartitionFailoverOptions::builder().with_circuit_breaker_enabled(false).build()?;
        let driver = DriverOptions::builder(account).with_partition_failover_options(failover).build();
        let driver = Box::pin(runtime.create_driver(driver)).await?;
        let mut options = OperationOptions::default();
        options.content_response_on_write = Some(ContentResponseOnWrite::Disabled);
        options.session_capturing_disabled = Some(true);
        options.throttling_retry_options =
            Some(ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build());
        options.binary_encoding = Some(BinaryEncodingOptions::new().with_enabled(false));
        let container = Box::pin(driver.resolve_container("bench", "orders", options.clone())).await?;
        Ok(Self { driver, container, options })
    }
}

/// The bulk requests of one physical partition.
struct Door {
    item: ItemReference,
    options: OperationOptions,
    body: Vec<u8>,
    operations: usize,
}

/// Writes the documents by bulk requests.
pub(crate) async fn door(account: &Account, documents: &[Document]) -> Result<()> {
    let ranges = Box::pin(account.driver.resolve_all_partition_key_ranges(&account.container, false)).await?;
    let mut ranges = ranges.ok_or("no partitions")?.to_vec();
    ranges.sort_by(|one, other| one.min_inclusive.cmp(&other.min_inclusive));
    let mut doors = ranges.iter().map(|range| opened(account, &range.id)).collect::<Result<Vec<_>>>()?;
    let definition = account.container.partition_key_definition();
    let (permits, mut sent) = (Arc::new(Semaphore::new(DOORS as usize)), JoinSet::new());
    for document in documents {
        let place = FeedRange::for_partition(PartitionKey::from(document.key), definition);
        let behind = ranges.partition_point(|range| range.min_inclusive <= *place.min_inclusive());
        let door = &mut doors[behind.max(1) - 1];
        door.body.extend_from_slice(br#",{"operationType":"Upsert","partitionKey":"[\""#);
        door.body.extend_from_slice(document.key.as_bytes());
        door.body.extend_from_slice(br#"\"]","resourceBody":"#);
        door.body.extend_from_slice(document.bytes);
        door.body.push(b'}');
        door.operations += 1;
        if door.operations == OPERATIONS {
            sent.spawn(send(&account.driver, door, Arc::clone(&permits).acquire_owned().await?));
            while let Some(done) = sent.try_join_next() {
                done??;
            }
        }
    }
    for door in &mut doors {
        if door.operations > 0 {
            sent.spawn(send(&account.driver, door, Arc::clone(&permits).acquire_owned().await?));
        }
    }
    while let Some(done) = sent.join_next().await {
        done??;
    }
    Ok(())
}

fn opened(account: &Account, range: &str) -> Result<Door> {
    let mut options = account.options.clone();
    let headers = [
        ("x-ms-cosmos-is-batch-request", "true"),
        ("x-ms-cosmos-batch-atomic", "false"),
        ("x-ms-cosmos-batch-continue-on-error", "true"),
        ("x-ms-documentdb-partitionkeyrangeid", range),
    ];
    let header = |(name, value): (&'static str, &str)| (name.into(), value.to_owned().into());
    options.custom_headers = Some(headers.into_iter().map(header).collect());
    let item = ItemReference::from_name(&account.container, PartitionKey::try_from(Vec::new())?, "bulk");
    Ok(Door { item, options, body: Vec::new(), operations: 0 })
}

/// Sends what the door holds.
fn send(
    driver: &Arc<CosmosDriver>,
    door: &mut Door,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> impl Future<Output = Result<()>> + Send + 'static {
    let next = Vec::with_capacity(door.body.len() + door.body.len() / 8);
    let mut body = std::mem::replace(&mut door.body, next);
    body[0] = b'[';
    body.push(b']');
    let operations = std::mem::take(&mut door.operations);
    let (driver, options) = (Arc::clone(driver), door.options.clone());
    let operation = CosmosOperation::create_item(door.item.clone()).with_body(body);
    async move {
        let response = Box::pin(driver.execute_singleton_operation(operation, options)).await?;
        drop(permit);
        let ResponseBody::Bytes(answer) = response.into_body() else {
            return Err("a bulk request without an answer".into());
        };
        // 200 and 201 alike.
        match memchr::memmem::find_iter(&answer, br#""statusCode":20"#).count() {
            count if count == operations => Ok(()),
            count => Err(format!("{count} of {operations} operations were done").into()),
        }
    }
}

/// Writes the documents by upserts of their own.
pub(crate) async fn point(account: &Account, documents: &[Document]) -> Result<()> {
    let (permits, mut sent) = (Arc::new(Semaphore::new(POINTS as usize)), JoinSet::new());
    for document in documents {
        let permit = Arc::clone(&permits).acquire_owned().await?;
        let item =
            ItemReference::from_name(&account.container, PartitionKey::from(document.key), document.id);
        let operation = CosmosOperation::upsert_item(item).with_body(document.bytes.to_vec());
        let (driver, options) = (Arc::clone(&account.driver), account.options.clone());
        sent.spawn(async move {
            let done = Box::pin(driver.execute_singleton_operation(operation, options)).await;
            drop(permit);
            done.map(|_| ())
        });
        while let Some(done) = sent.try_join_next() {
            done??;
        }
    }
    while let Some(done) = sent.join_next().await {
        done??;
    }
    Ok(())
}
