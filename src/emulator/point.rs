//! One document at a time: create, upsert, replace, read and delete.

use super::answer::{Answer, Asked};
use super::container::Container;
use super::partition::{Operation, Outcome, Partition, Refusal, Verb};
use super::stored::{Key, Received, etag_text, receive};
use crate::model::json::Doubles;
use crate::model::partition_key::PartitionKey;
use http::Method;
use std::sync::Arc;

/// The largest document.
pub(super) const LARGEST: usize = 2 * 1024 * 1024;

/// A request goes to the partition that holds its key. Should that one be split meanwhile, its child takes it: so many times.
const SPLITS: usize = 8;

/// Answers a request for one document. `id` is that in the path, if there is one.
pub(super) fn answer(container: &Container, asked: &Asked, id: Option<&str>) -> Result<Answer, Answer> {
    let verb = match (&asked.method, id) {
        (&Method::POST, None) if asked.is_set("x-ms-documentdb-is-upsert") => Verb::Upsert,
        (&Method::POST, None) => Verb::Create,
        (&Method::GET, Some(_)) => Verb::Read,
        (&Method::PUT, Some(_)) => Verb::Replace,
        (&Method::DELETE, Some(_)) => Verb::Delete,
        _ => return Err(Answer::failure(405, "The emulator does not serve this method on documents.")),
    };
    let key = header_key(asked)?;
    let is_write = !matches!(verb, Verb::Read | Verb::Delete);
    let received = if is_write { Some(body(container, asked, &key, id)?) } else { None };
    let name = received.as_ref().map_or(id.unwrap_or_default(), |received| &received.id);
    check_levels(container, &key)?;
    let place = Key::new(&container.definition.epk(&key), name);
    let incoming = received.map(|received| received.incoming);
    let wants_document = verb == Verb::Read || is_write && !asked.wants_little();
    let if_match = asked.header("if-match").map(str::to_owned);
    let operation = Operation { verb, key: place, incoming, if_match, wants_document };
    let (partition, outcome, lsn) = route(container, asked, operation)?;
    Ok(render(container, asked, &partition, outcome, lsn))
}

/// The partition key in the header.
pub(super) fn header_key(asked: &Asked) -> Result<PartitionKey<'static>, Answer> {
    let text = asked
        .header("x-ms-documentdb-partitionkey")
        .ok_or_else(|| Answer::failure(400, "PartitionKey value must be supplied for this operation."))?;
    PartitionKey::from_header_json(text)
        .map_err(|error| Answer::failure(400, &format!("Partition key header: {error}.")))
}

/// A key must have a value for each level, except for queries.
pub(super) fn check_levels(container: &Container, key: &PartitionKey<'_>) -> Result<(), Answer> {
    if key.components.len() == container.definition.paths.len() {
        return Ok(());
    }
    let message = "Partition key provided either doesn't correspond to definition in the collection or doesn't match partition key field values specified in the document.";
    Err(Answer::failure(400, message).substatus(1001))
}

fn body<'a>(
    container: &Container,
    asked: &'a Asked,
    key: &PartitionKey<'_>,
    id: Option<&str>,
) -> Result<Received<'a>, Answer> {
    if asked.body.len() > LARGEST {
        return Err(Answer::failure(413, "Request size is too large: a document has at most 2 MB."));
    }
    let unfit = |why: String| Answer::failure(400, &format!("Invalid document: {why}."));
    let mut document = Doubles::default();
    document.read(&asked.body).map_err(|malformed| {
        unfit(format!("the document is no JSON object: {malformed} at byte {}", malformed.at))
    })?;
    let received = receive(&asked.body, &document, &container.definition).map_err(unfit)?;
    if id.is_some_and(|id| id != received.id) {
        return Err(Answer::failure(400, "The id in the document is not the one in the path."));
    }
    if received.key != *key {
        check_levels(container, &PartitionKey::default())?;
    }
    Ok(received)
}

fn route(
    container: &Container,
    asked: &Asked,
    operation: Operation,
) -> Result<(Arc<Partition>, Outcome, u64), Answer> {
    let key = operation.key.clone();
    let mut operation = Some(operation);
    for _ in 0..SPLITS {
        let topology = container.topology();
        let partition = topology.holder(&key).ok_or_else(Answer::gone)?;
        match partition.one(&mut operation, &container.around(asked.now)) {
            Ok((outcome, lsn)) => return Ok((Arc::clone(partition), outcome, lsn)),
            Err(Refusal::Gone) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err(Answer::gone())
}

fn render(container: &Container, asked: &Asked, partition: &Partition, outcome: Outcome, lsn: u64) -> Answer {
    let Outcome { status, charge, etag, document } = outcome;
    let etag = etag.map(etag_text);
    let is_unchanged =
        asked.method == Method::GET && etag.is_some() && etag.as_deref() == asked.header("if-none-match");
    let answer = match (status, document) {
        (404, _) => {
            Answer::failure(404, "Resource Not Found: there is no document with this id and partition key.")
        }
        (409, _) => Answer::failure(409, "Resource with specified id or name already exists."),
        (412, _) => {
            Answer::failure(412, "One of the specified pre-condition is not met: the ETag is another one.")
        }
        (_, Some(_)) if is_unchanged => Answer::new(304, ""),
        (_, Some(document)) => {
            let mut body = Vec::with_capacity(document.text.len() + 256);
            document.render(&container.rid, &mut body);
            Answer::new(status, body)
        }
        (_, None) => Answer::new(status, ""),
    };
    let answer = match etag {
        Some(etag) => answer.with("etag", etag),
        None => answer,
    };
    place(answer.charged(charge), partition, lsn)
}

/// Says which partition answered and how far it is.
pub(super) fn place(answer: Answer, partition: &Partition, lsn: u64) -> Answer {
    answer
        .with("x-ms-session-token", format!("{}:-1#{lsn}", partition.id))
        .with("lsn", lsn)
        .with("x-ms-documentdb-partitionkeyrangeid", &partition.id)
}
