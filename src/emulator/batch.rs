//! Many documents in one request: transactional batches, and batches of one range, in which each operation stands for itself.
//!
//! Both come as an array of operations. What a range batch names as its partition key is a JSON text inside a JSON text. Everything that needs no
//! lock (parsing, checking, normalising, hashing) is done before the partition is asked.

use super::answer::{Answer, Asked, milliseconds};
use super::container::Container;
use super::partition::{Operation, Outcome, Refused, Verb};
use super::point::{LARGEST, check_levels, header_key, place};
use super::stored::{Key, receive};
use crate::model::json::{Field, Objects, unescape, write_string};
use crate::model::partition_key::{Component, PartitionKey};
use std::io::Write;

/// Operations in a batch.
const MOST: usize = 100;

/// The largest answer of a range batch; what does not fit is 413 with substatus 3402, though it was done.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// Answers a batch of operations on one logical partition, which all happen or none.
pub(super) fn atomic(container: &Container, asked: &Asked) -> Result<Answer, Answer> {
    let key = header_key(asked)?;
    check_levels(container, &key)?;
    let is_little = asked.wants_little();
    let operations =
        parse(asked, |bytes, fields| operation(container, bytes, fields, Some(&key), is_little))?;
    let refuse = |refused: Refused| Answer::failure(refused.status, &refused.message);
    let operations: Vec<Operation> = operations.into_iter().collect::<Result<_, _>>().map_err(refuse)?;
    let topology = container.topology();
    let holder = operations.first().and_then(|first| topology.holder(&first.key));
    let Some(partition) = holder else { return Err(Answer::failure(400, "The batch is empty.")) };
    let (outcomes, lsn) = partition.atomically(operations, &container.around(asked.now))?;
    let charge = outcomes.iter().map(|outcome| outcome.charge).sum();
    let answer = render(container, outcomes.into_iter().map(Ok));
    Ok(place(answer.charged(charge), partition, lsn))
}

/// Answers a batch of operations on one range. `is_throttled` says of the next operation whether a fault befalls it.
pub(super) fn of_range(
    container: &Container,
    asked: &Asked,
    is_throttled: impl FnMut() -> bool,
) -> Result<Answer, Answer> {
    let Some(range) = asked.range() else {
        return Err(Answer::failure(400, "A batch that is not atomic must name its partition key range."));
    };
    let is_little = asked.wants_little();
    let operations = parse(asked, |bytes, fields| operation(container, bytes, fields, None, is_little))?;
    let goes_on = !asked
        .header("x-ms-cosmos-batch-continue-on-error")
        .is_some_and(|on| on.eq_ignore_ascii_case("false"));
    let topology = container.topology();
    let partition = topology.partition(range).ok_or_else(Answer::gone)?;
    let (outcomes, lsn) = partition.each(operations, &container.around(asked.now), goes_on, is_throttled)?;
    let charge = outcomes.iter().flatten().map(|outcome| outcome.charge).sum();
    let answer = render(container, outcomes.into_iter());
    Ok(place(answer.charged(charge), partition, lsn))
}

type Parsed = Result<Operation, Refused>;

fn parse(asked: &Asked, mut each: impl FnMut(&[u8], &[Field]) -> Parsed) -> Result<Vec<Parsed>, Answer> {
    let bytes = &asked.body[..];
    let refuse =
        |malformed| Answer::failure(400, &format!("The batch is no array of operations: {malformed}."));
    let mut objects = Objects::new(bytes).map_err(refuse)?;
    let (mut fields, mut operations) = (Vec::new(), Vec::with_capacity(MOST));
    while objects.next(&mut fields).map_err(refuse)?.is_some() {
        if operations.len() == MOST {
            return Err(Answer::failure(
                400,
                "Batch request has more operations than what is supported: 100.",
            ));
        }
        operations.push(each(bytes, &fields));
    }
    Ok(operations)
}

/// Reads one operation. `key` is the partition key of the whole batch; without it the operation has its own.
fn operation(
    container: &Container,
    bytes: &[u8],
    fields: &[Field],
    key: Option<&PartitionKey<'_>>,
    is_little: bool,
) -> Parsed {
    let raw =
        |name| fields.iter().find(|field| field.is_named(bytes, name)).map(|field| field.raw_value(bytes));
    let text = |name| match raw(name) {
        Some([b'"', inner @ .., b'"']) => Some(unescape(inner)),
        _ => None,
    };
    let verb = match text("operationType").as_deref() {
        Some("Create") => Verb::Create,
        Some("Upsert") => Verb::Upsert,
        Some("Replace") => Verb::Replace,
        Some("Delete") => Verb::Delete,
        Some("Read") => Verb::Read,
        _ => return Err(Refused::bad(400, "operationType is none of Create, Upsert, Replace, Delete, Read")),
    };
    let if_match = text("ifMatch").map(Into::into);
    if matches!(verb, Verb::Delete | Verb::Read) {
        let id = text("id").ok_or_else(|| Refused::bad(400, "the operation has no id"))?;
        let own = key.is_none().then(|| own_key(raw("partitionKey"))).transpose()?.flatten();
        let key =
            key.or(own.as_ref()).ok_or_else(|| Refused::bad(400, "the operation has no partitionKey"))?;
        let key = Key::new(&container.definition.epk(key), &id);
        return Ok(Operation { verb, key, incoming: None, if_match, wants_document: verb == Verb::Read });
    }
    let body = raw("resourceBody").ok_or_else(|| Refused::bad(400, "the operation has no resourceBody"))?;
    if body.len() > LARGEST {
        return Err(Refused::bad(413, "a document has at most 2 MB"));
    }
    let (incoming, found) = receive(body, &container.definition).map_err(|unfit| Refused::bad(400, unfit))?;
    let is_own = match key {
        Some(key) => found == *key,
        None => {
            is_plainly(raw("partitionKey"), &found)
                || own_key(raw("partitionKey"))?.is_none_or(|own| own == found)
        }
    };
    if !is_own {
        return Err(Refused {
            substatus: 1001,
            ..Refused::bad(400, "the partition key is not that of the document")
        });
    }
    if verb == Verb::Replace && text("id").is_some_and(|id| id != incoming.id) {
        return Err(Refused::bad(400, "the id is not that of the document"));
    }
    let key = Key::new(&container.definition.epk(&found), &incoming.id);
    let wants_document = !is_little && raw("minimalReturnPreference") != Some(b"true");
    Ok(Operation { verb, key, incoming: Some(incoming), if_match, wants_document })
}

/// Whether the text of `partitionKey` is, letter for letter, what this key is usually written as: nearly always, and seen at once.
fn is_plainly(raw: Option<&[u8]>, key: &PartitionKey<'_>) -> bool {
    let [Component::Text(text)] = &key.components[..] else { return false };
    let inner = raw.and_then(|raw| raw.strip_prefix(b"\"[\\\"")).and_then(|raw| raw.strip_suffix(b"\\\"]\""));
    inner == Some(text.as_bytes()) && !text.contains(['"', '\\'])
}

/// The partition key of an operation: a JSON array, as text or as it is.
fn own_key(raw: Option<&[u8]>) -> Result<Option<PartitionKey<'static>>, Refused> {
    let text = match raw {
        None => return Ok(None),
        Some([b'"', inner @ .., b'"']) => unescape(inner),
        Some(raw) => String::from_utf8_lossy(raw),
    };
    PartitionKey::from_header_json(&text)
        .map(Some)
        .map_err(|error| Refused::bad(400, format!("partitionKey: {error}")))
}

fn render(
    container: &Container,
    outcomes: impl ExactSizeIterator<Item = Result<Outcome, Refused>>,
) -> Answer {
    let mut body = Vec::with_capacity(outcomes.len() * 128);
    let mut are_all_well = true;
    body.push(b'[');
    for outcome in outcomes {
        if body.len() > 1 {
            body.push(b',');
        }
        let start = body.len();
        match outcome {
            Ok(outcome) => {
                are_all_well &= outcome.status < 400;
                render_outcome(container, &outcome, &mut body);
            }
            Err(refused) => {
                are_all_well = false;
                render_refused(&refused, &mut body);
            }
        }
        if body.len() > LARGEST_ANSWER {
            body.truncate(start);
            are_all_well = false;
            let refused = Refused { substatus: 3402, ..Refused::bad(413, "the answer is too large") };
            render_refused(&refused, &mut body);
        }
    }
    body.push(b']');
    Answer::new(if are_all_well { 200 } else { 207 }, body)
}

fn render_outcome(container: &Container, outcome: &Outcome, out: &mut Vec<u8>) {
    let Outcome { status, charge, etag, document } = outcome;
    // Writing to a Vec does not fail.
    let _ = write!(out, r#"{{"statusCode":{status},"requestCharge":{charge:.2}"#);
    if let Some(etag) = etag {
        out.extend_from_slice(b",\"eTag\":");
        write_string(out, etag);
    }
    if let Some(document) = document {
        out.extend_from_slice(b",\"resourceBody\":");
        document.render(&container.rid, out);
    }
    out.push(b'}');
}

fn render_refused(refused: &Refused, out: &mut Vec<u8>) {
    let Refused { status, substatus, retry_after, message } = refused;
    let _ = write!(out, r#"{{"statusCode":{status},"subStatusCode":{substatus},"requestCharge":0"#);
    if let Some(wait) = retry_after {
        let _ = write!(out, r#","retryAfterMilliseconds":{}"#, milliseconds(*wait));
    }
    out.extend_from_slice(b",\"message\":");
    write_string(out, message);
    out.push(b'}');
}
