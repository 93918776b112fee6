//! Reading many documents: a few queries, and the plain feed, page by page.
//!
//! A page comes from one partition, in the order of its keys, so that a page follows another whatever is written meanwhile. The continuation
//! says behind (or from) which key the next page begins; it survives a split, because keys do.

use super::answer::{Answer, Asked};
use super::charge::{Charged, charge};
use super::container::{Container, Topology};
use super::partition::Partition;
use super::point::{header_key, place};
use super::sql::{Selected, parse};
use super::stored::{Key, Stored};
use crate::model::json;
use crate::model::partition_key::Epk;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::ops::Bound;
use std::sync::Arc;

/// A page of a client that names no number.
const PAGE: usize = 100;

/// The largest page, in bytes; a page of one larger document is whole.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// What a page is taken from.
struct Scope {
    partitions: Vec<Arc<Partition>>,
    /// The logical partition, or a prefix of it.
    under: Epk,
    /// Ends of a narrower range that the client asked for.
    from: Option<Epk>,
    to: Option<Epk>,
}

/// Answers a query, or the feed if there is none.
pub(super) fn answer(container: &Container, asked: &Asked, is_query: bool) -> Result<Answer, Answer> {
    let selected = if is_query { query(asked)? } else { Selected::Documents };
    let topology = container.topology();
    let scope = scope(container, &topology, asked)?;
    if selected.is_aggregate() && scope.partitions.len() > 1 {
        return Err(across_partitions());
    }
    let mut position = position(asked)?;
    if let (Bound::Unbounded, Some(from)) = (&position, &scope.from) {
        position = Bound::Included(Key::begin_of(from));
    }
    let mut page = Page::new(selected, asked);
    let mut last = None;
    for (at, partition) in scope.partitions.iter().enumerate() {
        let is_before =
            matches!(&position, Bound::Included(key) | Bound::Excluded(key) if partition.ends_by(key));
        if is_before {
            continue;
        }
        let lsn = page.fill(container, partition, &scope, &position, asked)?;
        let has_more = at + 1 < scope.partitions.len();
        if page.next.is_none() && has_more {
            page.next = scope.partitions.get(at + 1).map(|next| Bound::Included(Key::begin_of(&next.min)));
        }
        last = Some((partition, lsn));
        if !page.is_empty() {
            break;
        }
        position = page.next.take().unwrap_or(Bound::Unbounded);
    }
    let answer = page.into_answer(container);
    Ok(match last {
        Some((partition, lsn)) => place(answer, partition, lsn),
        None => answer,
    })
}

/// What a client needs to run a query over many partitions by itself.
pub(super) fn plan(asked: &Asked) -> Result<Answer, Answer> {
    let selected = query(asked)?;
    let (aggregates, rewritten) = match selected {
        Selected::Count | Selected::CountItem => {
            (vec!["Count"], "SELECT VALUE [{\"item\": COUNT(1)}]\nFROM c")
        }
        _ => (vec![], ""),
    };
    let info = json!({
        "distinctType": "None", "top": null, "offset": null, "limit": null, "orderBy": [], "orderByExpressions": [],
        "groupByExpressions": [], "groupByAliases": [], "aggregates": aggregates, "groupByAliasToAggregateType": {},
        "rewrittenQuery": rewritten, "hasSelectValue": selected.is_aggregate(), "hasNonStreamingOrderBy": false,
    });
    let everything = json!({ "min": "", "max": "FF", "isMinInclusive": true, "isMaxInclusive": false });
    let plan =
        json!({ "partitionedQueryExecutionInfoVersion": 2, "queryInfo": info, "queryRanges": [everything] });
    Ok(Answer::json(200, &plan).charged(charge(Charged::Metadata, 0)))
}

fn query(asked: &Asked) -> Result<Selected, Answer> {
    let body: serde_json::Value = serde_json::from_slice(&asked.body)
        .map_err(|cause| Answer::failure(400, &format!("The query is no JSON object: {cause}.")))?;
    let text = body.get("query").and_then(serde_json::Value::as_str).unwrap_or_default();
    parse(text).ok_or_else(|| {
        let message = "The emulator knows SELECT *, SELECT c.field, ... and SELECT VALUE COUNT(1), each FROM c and without WHERE.";
        Answer::failure(400, message)
    })
}

fn across_partitions() -> Answer {
    let message = "Cross partition query only supports 'VALUE <AggregateFunc>' for aggregates.";
    let body =
        json!({ "code": "BadRequest", "message": message, "additionalErrorInfo": "see the query plan" });
    Answer::json(400, &body).substatus(1004).charged(charge(Charged::Metadata, 0))
}

fn scope(container: &Container, topology: &Topology, asked: &Asked) -> Result<Scope, Answer> {
    let place = |name| asked.header(name).and_then(Epk::from_hex);
    let from = place("x-ms-start-epk").or_else(|| place("x-ms-thinclient-pkrange-min"));
    let to = place("x-ms-end-epk").or_else(|| place("x-ms-thinclient-pkrange-max"));
    let under = match asked.header("x-ms-documentdb-partitionkey") {
        Some(_) => container.definition.epk(&header_key(asked)?),
        None => Epk::default(),
    };
    let partitions = match asked.range() {
        Some(id) => vec![Arc::clone(topology.partition(id).ok_or_else(Answer::gone)?)],
        None => {
            let partitions = topology.partitions.iter();
            partitions.filter(|partition| partition.may_hold_under(&under)).cloned().collect()
        }
    };
    Ok(Scope { partitions, under, from, to })
}

/// Where the page begins: `+` and a key that is in it, `-` and one that is not.
fn position(asked: &Asked) -> Result<Bound<Key>, Answer> {
    let Some(text) = asked.header("x-ms-continuation").filter(|text| !text.is_empty()) else {
        return Ok(Bound::Unbounded);
    };
    let key = text
        .get(1..)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .and_then(|bytes| Key::from_bytes(&bytes));
    match (text.as_bytes().first(), key) {
        (Some(b'+'), Some(key)) => Ok(Bound::Included(key)),
        (Some(b'-'), Some(key)) => Ok(Bound::Excluded(key)),
        _ => Err(Answer::failure(400, "The continuation is none that this endpoint has given.")),
    }
}

/// A page while it is filled.
struct Page {
    selected: Selected,
    body: Vec<u8>,
    count: usize,
    most: usize,
    charge: f64,
    scratch: Vec<u8>,
    next: Option<Bound<Key>>,
}

impl Page {
    fn new(selected: Selected, asked: &Asked) -> Self {
        let asked_for = asked.header("x-ms-max-item-count").and_then(|text| text.parse::<i64>().ok());
        let most = match asked_for {
            Some(count) if count > 0 => count as usize,
            Some(_) => usize::MAX,
            None => PAGE,
        };
        Self { selected, body: Vec::new(), count: 0, most, charge: 0.0, scratch: Vec::new(), next: None }
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes documents of one partition from `position` on. Returns how many writes it has seen.
    fn fill(
        &mut self,
        container: &Container,
        partition: &Partition,
        scope: &Scope,
        position: &Bound<Key>,
        asked: &Asked,
    ) -> Result<u64, Answer> {
        let mut contents = partition.open()?;
        contents.budget.admit(asked.now).map_err(|exhausted| Answer::throttled(exhausted.0))?;
        let (mut looked_at, mut counted) = (0, 0usize);
        let mut last: Option<&Key> = None;
        let end = scope.to.as_ref().map(Key::begin_of);
        let begin = Key::begin_of(&scope.under);
        let position = match position {
            Bound::Unbounded => Bound::Included(&begin),
            other => other.as_ref(),
        };
        for (key, stored) in contents.behind(position) {
            if !key.is_under(&scope.under) || end.as_ref().is_some_and(|end| key >= end) {
                break;
            }
            if !self.selected.is_aggregate()
                && (self.count == self.most
                    || self.body.len() + stored.text.len() > LARGEST_PAGE && self.count > 0)
            {
                self.next = last.cloned().map(Bound::Excluded);
                break;
            }
            looked_at += stored.text.len();
            counted += 1;
            last = Some(key);
            self.take(container, stored);
        }
        if self.selected.is_aggregate() {
            let item = if self.selected == Selected::Count {
                counted.to_string()
            } else {
                format!("[{{\"item\":{counted}}}]")
            };
            self.body.extend_from_slice(item.as_bytes());
            self.count = 1;
            // Only the index is read.
            looked_at = 16 * counted;
        }
        let units = charge(Charged::Page, looked_at);
        self.charge += units;
        contents.budget.spend(units);
        Ok(contents.lsn)
    }

    fn take(&mut self, container: &Container, stored: &Stored) {
        let names = match &self.selected {
            Selected::Documents => &[][..],
            Selected::Fields(names) => names,
            Selected::Count | Selected::CountItem => return,
        };
        if self.count > 0 {
            self.body.push(b',');
        }
        self.count += 1;
        if names.is_empty() {
            return stored.render(&container.rid, &mut self.body);
        }
        self.scratch.clear();
        stored.render(&container.rid, &mut self.scratch);
        self.body.push(b'{');
        let mut is_first = true;
        for name in names {
            let Some(value) = json::field(&self.scratch, name) else { continue };
            if !is_first {
                self.body.push(b',');
            }
            is_first = false;
            json::write_string(&mut self.body, name);
            self.body.push(b':');
            self.body.extend_from_slice(value);
        }
        self.body.push(b'}');
    }

    fn into_answer(self, container: &Container) -> Answer {
        let mut body = format!("{{\"_rid\":\"{}\",\"Documents\":[", container.rid).into_bytes();
        body.extend_from_slice(&self.body);
        body.extend_from_slice(format!("],\"_count\":{}}}", self.count).as_bytes());
        let answer = Answer::new(200, body).charged(self.charge).with("x-ms-item-count", self.count);
        match self.next {
            Some(Bound::Included(key)) => {
                answer.with("x-ms-continuation", format!("+{}", URL_SAFE_NO_PAD.encode(key.to_bytes())))
            }
            Some(Bound::Excluded(key)) => {
                answer.with("x-ms-continuation", format!("-{}", URL_SAFE_NO_PAD.encode(key.to_bytes())))
            }
            Some(Bound::Unbounded) | None => answer,
        }
    }
}
