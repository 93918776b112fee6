//! Many documents in one request: transactional batches, and batches of one range, in which each operation stands for itself.
//!
//! Both come as an array of operations. What a range batch names as its partition key is a JSON text inside a JSON text. Everything that needs no
//! lock (parsing, checking, normalising, hashing) is done before the partition is asked.

use super::answer::{Answer, Asked, milliseconds};
use super::container::Container;
use super::faults::OperationFault;
use super::partition::{Operation, Outcome, Refused, Verb};
use super::point::{LARGEST, check_levels, header_key, place};
use super::stored::{Key, Received, receive, write_etag};
use crate::model::json::{Doubles, Field, Objects, unescape, write_string};
use crate::model::partition_key::{Component, PartitionKey};
use std::borrow::Cow;
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
    let operations = parse(asked, |parts| operation(container, parts, Some(&key), is_little))?;
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

/// Answers a batch of operations on one range. `befalls` says of the next operation which fault it meets.
pub(super) fn of_range(
    container: &Container,
    asked: &Asked,
    befalls: impl FnMut() -> Option<OperationFault>,
) -> Result<Answer, Answer> {
    let Some(range) = asked.range() else {
        return Err(Answer::failure(400, "A batch that is not atomic must name its partition key range."));
    };
    let is_little = asked.wants_little();
    let operations = parse(asked, |parts| operation(container, parts, None, is_little))?;
    let goes_on = !asked
        .header("x-ms-cosmos-batch-continue-on-error")
        .is_some_and(|on| on.eq_ignore_ascii_case("false"));
    let topology = container.topology();
    let partition = topology.partition(range).ok_or_else(Answer::gone)?;
    let (outcomes, lsn) = partition.each(operations, &container.around(asked.now), goes_on, befalls)?;
    let charge = outcomes.iter().flatten().map(|outcome| outcome.charge).sum();
    let answer = render(container, outcomes.into_iter());
    Ok(place(answer.charged(charge), partition, lsn))
}

type Parsed = Result<Operation, Refused>;

/// An operation as it came.
struct Parts<'a> {
    /// The whole batch: what the places of the fields are counted in.
    bytes: &'a [u8],
    fields: &'a [Field],
    /// What `resourceBody` holds; empty if it is no object.
    document: &'a Doubles,
}

impl<'a> Parts<'a> {
    fn raw(&self, name: &str) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|field| field.is_named(self.bytes, name))
            .map(|field| field.raw_value(self.bytes))
    }

    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.raw(name) {
            Some([b'"', inner @ .., b'"']) => Some(unescape(inner)),
            _ => None,
        }
    }
}

/// Passes over the batch once: the documents are checked and noted on the way.
fn parse(asked: &Asked, mut each: impl FnMut(Parts<'_>) -> Parsed) -> Result<Vec<Parsed>, Answer> {
    let bytes = &asked.body[..];
    let refuse =
        |malformed| Answer::failure(400, &format!("The batch is no array of operations: {malformed}."));
    let mut objects = Objects::new(bytes).map_err(refuse)?;
    let (mut fields, mut document) = (Vec::new(), Doubles::default());
    let mut operations = Vec::with_capacity(MOST);
    while objects.next_around(&mut fields, "resourceBody", &mut document).map_err(refuse)?.is_some() {
        if operations.len() == MOST {
            return Err(Answer::failure(
                400,
                "Batch request has more operations than what is supported: 100.",
            ));
        }
        operations.push(each(Parts { bytes, fields: &fields, document: &document }));
    }
    Ok(operations)
}

/// Reads one operation. `key` is the partition key of the whole batch; without it the operation has its own.
fn operation(
    container: &Container,
    parts: Parts<'_>,
    key: Option<&PartitionKey<'_>>,
    is_little: bool,
) -> Parsed {
    let verb = match parts.text("operationType").as_deref() {
        Some("Create") => Verb::Create,
        Some("Upsert") => Verb::Upsert,
        Some("Replace") => Verb::Replace,
        Some("Delete") => Verb::Delete,
        Some("Read") => Verb::Read,
        _ => return Err(Refused::bad(400, "operationType is none of Create, Upsert, Replace, Delete, Read")),
    };
    let if_match = parts.text("ifMatch").map(Into::into);
    if matches!(verb, Verb::Delete | Verb::Read) {
        let id = parts.text("id").ok_or_else(|| Refused::bad(400, "the operation has no id"))?;
        let own = key.is_none().then(|| own_key(parts.raw("partitionKey"))).transpose()?.flatten();
        let key =
            key.or(own.as_ref()).ok_or_else(|| Refused::bad(400, "the operation has no partitionKey"))?;
        let key = Key::new(&container.definition.epk(key), &id);
        return Ok(Operation { verb, key, incoming: None, if_match, wants_document: verb == Verb::Read });
    }
    if parts.document.is_empty() {
        return Err(Refused::bad(400, "the operation has no resourceBody that is an object"));
    }
    if parts.document.place().len() > LARGEST {
        return Err(Refused::bad(413, "a document has at most 2 MB"));
    }
    let received = receive(parts.bytes, parts.document, &container.definition);
    let Received { incoming, id, key: found } = received.map_err(|unfit| Refused::bad(400, unfit))?;
    let is_own = match key {
        Some(key) => found == *key,
        None => {
            is_plainly(parts.raw("partitionKey"), &found)
                || own_key(parts.raw("partitionKey"))?.is_none_or(|own| own == found)
        }
    };
    if !is_own {
        return Err(Refused {
            substatus: 1001,
            ..Refused::bad(400, "the partition key is not that of the document")
        });
    }
    if verb == Verb::Replace && parts.text("id").is_some_and(|named| named != id) {
        return Err(Refused::bad(400, "the id is not that of the document"));
    }
    let key = Key::new(&container.definition.epk(&found), &id);
    let wants_document = !is_little && parts.raw("minimalReturnPreference") != Some(b"true");
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
    out.extend_from_slice(b"{\"statusCode\":");
    write_number(u64::from(*status), out);
    out.extend_from_slice(b",\"requestCharge\":");
    let hundredths = (charge * 100.0).round() as u64;
    write_number(hundredths / 100, out);
    out.extend_from_slice(&[b'.', b'0' + (hundredths / 10 % 10) as u8, b'0' + (hundredths % 10) as u8]);
    if let Some(etag) = etag {
        out.extend_from_slice(b",\"eTag\":");
        write_etag(*etag, out);
    }
    if let Some(document) = document {
        out.extend_from_slice(b",\"resourceBody\":");
        document.render(&container.rid, out);
    }
    out.push(b'}');
}

/// Appends the digits of a number. By hand, because a batch has many and formatting takes longer than all else that is done for the answer.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 || at == digits.len() {
        at -= 1;
        digits[at] += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

fn render_refused(refused: &Refused, out: &mut Vec<u8>) {
    let Refused { status, substatus, retry_after, message } = refused;
    // Writing to a Vec does not fail.
    let _ = write!(out, r#"{{"statusCode":{status},"subStatusCode":{substatus},"requestCharge":0"#);
    if let Some(wait) = retry_after {
        let _ = write!(out, r#","retryAfterMilliseconds":{}"#, milliseconds(*wait));
    }
    out.extend_from_slice(b",\"message\":");
    write_string(out, message);
    out.push(b'}');
}
