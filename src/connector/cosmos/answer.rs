//! What the service answers, and what follows from it for each document.
//!
//! A request of many documents is answered document by document: a few may be throttled or refused while the rest are written. A request may
//! also fail as a whole. The rules are in two tables here, [`judge`] for one document and [`Reply::into_error`] for a request.

use crate::connector::cosmos::client::Verb;
use crate::error::{Error, ErrorKind, Retry};
use crate::model::json::{Field, Objects, unescape};
use serde::Deserialize;
use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

/// What failed, in an error.
pub(super) const WRITING: &str = "writing to Cosmos";

/// The longest message of the service that is passed on: what follows is identifiers of its own.
const MESSAGE: usize = 300;

/// The most request units that an answer is believed to have cost. The service lets no request cost a hundredth of it; what says more is damaged,
/// and would stop a lane for hours.
const DEAREST: f64 = 1e6;

/// The longest wait that is obeyed; the service asks for a second, and for a few where a debt is paid off.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A charge as it was told, or nothing where it is none.
pub(super) fn believed(charge: f64) -> f64 {
    if (0.0..=DEAREST).contains(&charge) { charge } else { 0.0 }
}

/// A wait as it was told, within reason.
pub(super) fn obeyed(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(LONGEST_WAIT)
}

/// An answer to a request, or what the driver says where there was none.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) substatus: u16,
    pub(super) request_units: f64,
    /// What of these the driver spent on attempts before the one that this answers.
    pub(super) earlier_units: f64,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
    /// The service said this, and not the driver for want of an answer.
    pub(super) is_from_service: bool,
}

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The service's own words.
    pub(super) fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            message: Cow<'a, str>,
        }
        let whole = String::from_utf8_lossy(&self.body);
        let text = match serde_json::from_str::<Body<'_>>(&whole) {
            Ok(body) => body.message.into_owned(),
            Err(_) => whole.into_owned(),
        };
        first_line(&text)
    }

    /// The answer to a point request as one of many.
    pub(super) fn as_answer(&self) -> Answer<'static> {
        Answer {
            status_code: self.status,
            sub_status_code: self.substatus,
            request_charge: self.request_units - self.earlier_units,
            retry_after_milliseconds: self.retry_after.map_or(0, |after| after.as_millis() as u64),
            message: Some(Cow::Owned(self.message())),
            resource_body: None,
        }
    }

    /// The failure of the whole request.
    pub(super) fn into_error(self, operation: &'static str) -> Error {
        let kind = match self.status {
            401 => ErrorKind::Authentication,
            403 => ErrorKind::Authentication,
            408 => ErrorKind::Timeout,
            410 | 500..=599 => ErrorKind::Unavailable,
            429 => ErrorKind::Throttled,
            449 => ErrorKind::Conflict,
            _ => ErrorKind::Configuration,
        };
        let is_gone = self.status == 404 && operation == WRITING;
        let message = if is_gone { "the container is not there any more".to_owned() } else { self.message() };
        let mut error =
            Error::new(kind, operation, message).with("status", Code(self.status, self.substatus));
        if is_gone {
            error = error.advise("find out who has deleted it; a new one is filled with --restart");
        }
        match self.retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        }
    }
}

/// Status and substatus as people write them.
struct Code(u16, u16);

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.1 {
            0 => write!(f, "{}", self.0),
            substatus => write!(f, "{}/{substatus}", self.0),
        }
    }
}

/// What became of one operation of a request.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    pub(super) status_code: u16,
    pub(super) sub_status_code: u16,
    pub(super) request_charge: f64,
    pub(super) retry_after_milliseconds: u64,
    pub(super) message: Option<Cow<'a, str>>,
    /// The document that was read.
    pub(super) resource_body: Option<&'a [u8]>,
}

/// The answers to `count` operations, if the body is such.
pub(super) fn answers(body: &[u8], count: usize) -> Option<Vec<Answer<'_>>> {
    let mut objects = Objects::new(body).ok()?;
    let (mut fields, mut answers) = (Vec::new(), Vec::with_capacity(count));
    while objects.next(&mut fields).ok()?.is_some() {
        answers.push(Answer::of(body, &fields)?);
    }
    (answers.len() == count).then_some(answers)
}

impl<'a> Answer<'a> {
    /// The answer that is the object with these fields. There is one for every document, so nothing is copied and nothing parsed that is not
    /// looked at.
    fn of(body: &'a [u8], fields: &[Field]) -> Option<Self> {
        let mut answer = Self::default();
        for field in fields {
            let value = field.raw_value(body);
            if value == b"null" {
                continue;
            }
            match field.raw_name(body) {
                b"statusCode" => answer.status_code = number(value)?,
                b"subStatusCode" => answer.sub_status_code = number(value)?,
                b"requestCharge" => answer.request_charge = believed(number(value)?),
                b"retryAfterMilliseconds" => answer.retry_after_milliseconds = number::<f64>(value)? as u64,
                b"resourceBody" => answer.resource_body = Some(value),
                b"message" => {
                    let text = value.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
                    answer.message = text.map(unescape);
                }
                _ => {}
            }
        }
        // Without it, it is something else.
        (answer.status_code > 0).then_some(answer)
    }

    /// How long to wait where it says that something was throttled.
    pub(super) fn wait(&self) -> Duration {
        match self.retry_after_milliseconds {
            0 => UNTOLD_WAIT,
            milliseconds => obeyed(milliseconds),
        }
    }
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What a request cost and for how many documents: what its answers say, or where they are silent its own header. What was thrown back or has failed
/// on the way may be charged for too, but does not tell what a document costs.
pub(super) fn charge(reply: &Reply, answers: &[Answer<'_>]) -> (f64, u32) {
    let sum: f64 = answers.iter().map(|answer| answer.request_charge).sum();
    let is_told = sum > 0.0;
    let counts = |answer: &&Answer<'_>| {
        let is_done = !matches!(answer.status_code, 408 | 410 | 424 | 429 | 449 | 500..);
        is_done && (answer.request_charge > 0.0 || !is_told)
    };
    let charged = answers.iter().filter(counts).count() as u32;
    (if is_told { believed(sum) + reply.earlier_units } else { reply.request_units }, charged)
}

/// Whether the answer to a point request is about the document, and not about the account, the container or the way there.
pub(super) fn is_of_the_document(reply: &Reply) -> bool {
    if !reply.is_from_service {
        // The driver's own words: whatever they are, the service has not judged the document.
        return false;
    }
    match (reply.status, reply.substatus) {
        (403, 1014) => true,
        (401 | 403, _) => false,
        // With a substatus it is the container that is missing.
        (404, substatus) => substatus == 0,
        _ => true,
    }
}

/// What follows for a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    Written,
    Rejected(String),
    /// There is one with this key and id.
    Taken,
    Retry,
    /// As [`Fate::Retry`], after this time.
    Throttled(Duration),
    /// Its place is with another physical partition now.
    Gone,
    /// Nothing was done because of another operation of the same batch.
    Innocent,
}

/// How long a throttled operation waits where the service does not say: budgets are renewed every second.
pub(super) const UNTOLD_WAIT: Duration = Duration::from_secs(1);

/// What follows from the answer to one operation.
pub(super) fn judge(verb: Verb, answer: &Answer<'_>) -> Fate {
    let message = || {
        let code = Code(answer.status_code, answer.sub_status_code);
        match answer.message.as_deref().map(first_line).filter(|message| !message.is_empty()) {
            Some(message) => format!("refused by Cosmos ({code}): {message}"),
            None => format!("refused by Cosmos ({code})"),
        }
    };
    match (answer.status_code, answer.sub_status_code) {
        (200..300, _) => Fate::Written,
        (404, 0) if verb == Verb::Delete => Fate::Written,
        (404, 0) if verb == Verb::Replace => {
            Fate::Rejected("not there: replace needs a document with this key and id".to_owned())
        }
        (409, _) if verb == Verb::Create => Fate::Taken,
        (429, _) => Fate::Throttled(answer.wait()),
        (410, _) => Fate::Gone,
        (424, _) => Fate::Innocent,
        // The answer grew too long, and the rest of the operations were not done.
        (413, 3402) => Fate::Retry,
        // What only another document would change; 403/1014: a key of which 20 GB are stored is full.
        (400 | 409 | 412 | 413 | 422, _) | (403, 1014) => Fate::Rejected(message()),
        // What is not about the document ends in no dead letter: it passes, or it ends the run.
        _ => Fate::Retry,
    }
}

/// Of several failures in one request the one is told that is given the most time to pass; before all, what never passes.
pub(super) fn gravity(kind: ErrorKind) -> u8 {
    match kind.retry() {
        Retry::Never => 3,
        Retry::Backoff { .. } if kind != ErrorKind::Conflict => 2,
        _ => 1,
    }
}

/// The failure of one operation that may pass.
pub(super) fn refusal(answer: &Answer<'_>) -> Error {
    let body = answer.message.as_ref().map_or_else(Vec::new, |message| message.as_bytes().to_vec());
    let (status, substatus) = (answer.status_code, answer.sub_status_code);
    let error = Reply { status, substatus, body, ..Reply::default() }.into_error(WRITING);
    // The answer grew too long: nothing is wrong with the documents that it left out.
    if (status, substatus) == (413, 3402) { error.with_kind(ErrorKind::Conflict) } else { error }
}

/// The first line of a text, without what only the service's staff can use.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().take(MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Fate {
        judged(Verb::Upsert, text)
    }

    fn judged(verb: Verb, text: &str) -> Fate {
        judge(verb, &answers(format!("[{text}]").as_bytes(), 1).unwrap()[0])
    }

    #[test]
    fn each_answer_has_its_fate() {
        assert_eq!(
            one(r#"{"statusCode":201,"requestCharge":5.5,"eTag":"x","resourceBody":{"a":[1]}}"#),
            Fate::Written
        );
        assert_eq!(
            one(r#"{"statusCode":429,"retryAfterMilliseconds":70}"#),
            Fate::Throttled(Duration::from_millis(70))
        );
        assert_eq!(one(r#"{"statusCode":429}"#), Fate::Throttled(UNTOLD_WAIT));
        for status in [408, 449, 500, 502, 503, 504] {
            assert_eq!(one(&format!(r#"{{"statusCode":{status}}}"#)), Fate::Retry);
        }
        assert_eq!(one(r#"{"statusCode":413,"subStatusCode":3402}"#), Fate::Retry);
        let (passing, lasting) = ([507, 520, 599], [301, 401, 403, 404, 407]);
        for status in passing.into_iter().chain(lasting) {
            let text = format!(r#"[{{"statusCode":{status}}}]"#);
            let answer = &answers(text.as_bytes(), 1).unwrap()[0];
            assert_eq!(judge(Verb::Upsert, answer), Fate::Retry, "{status}: no document is to blame");
            let ends_the_run = refusal(answer).kind().retry() == Retry::Never;
            assert_eq!(ends_the_run, lasting.contains(&status), "{status}");
        }
        assert_eq!(one(r#"{"statusCode":413}"#), Fate::Rejected("refused by Cosmos (413)".to_owned()));
        assert_eq!(one(r#"{"statusCode":410,"subStatusCode":1002}"#), Fate::Gone);
        assert_eq!(one(r#"{"statusCode":424}"#), Fate::Innocent);
        let refused = one(r#"{"statusCode":400,"subStatusCode":1001,"message":"bad key\r\nActivityId: 1"}"#);
        assert_eq!(refused, Fate::Rejected("refused by Cosmos (400/1001): bad key".to_owned()));
        assert!(matches!(one(r#"{"statusCode":409}"#), Fate::Rejected(_)), "a unique key");
        assert_eq!(judged(Verb::Create, r#"{"statusCode":409}"#), Fate::Taken);
        assert_eq!(judged(Verb::Delete, r#"{"statusCode":404}"#), Fate::Written);
        assert!(
            matches!(judged(Verb::Replace, r#"{"statusCode":404}"#), Fate::Rejected(reason) if reason.starts_with("not there"))
        );
    }

    #[test]
    fn a_charge_or_a_wait_beyond_reason_is_not_believed() {
        for charge in ["1e400", "-1", "1e9", "NaN", "-inf"] {
            let body = format!(r#"[{{"statusCode":200,"requestCharge":{charge}}}]"#);
            let told = answers(body.as_bytes(), 1).map(|told| told[0].request_charge);
            assert!(told.is_none_or(|told| told == 0.0), "{charge}: {told:?}");
        }
        let endless = r#"{"statusCode":429,"retryAfterMilliseconds":1e300}"#;
        assert_eq!(one(endless), Fate::Throttled(LONGEST_WAIT));
        assert_eq!(believed(f64::NAN), 0.0);
    }

    #[test]
    fn answers_are_as_many_as_operations() {
        let body = br#"[{"statusCode":200},{"statusCode":200}]"#;
        assert!(answers(body, 2).is_some() && answers(body, 3).is_none());
        assert!(answers(b"{}", 1).is_none() && answers(b"", 0).is_none());
        assert!(answers(b"[{}]", 1).is_none() && answers(br#"[{"statusCode":"x"}]"#, 1).is_none());
        let full = br#" [ {"statusCode":429,"subStatusCode":3200,"requestCharge":1.5,"retryAfterMilliseconds":12.5,
            "eTag":null,"resourceBody":{"statusCode":1},"message":"a\u0041"}, {"statusCode":201,"message":null} ] "#;
        let told = answers(full, 2).unwrap();
        let first = &told[0];
        assert_eq!((first.status_code, first.sub_status_code, first.request_charge), (429, 3200, 1.5));
        assert_eq!((first.retry_after_milliseconds, first.message.as_deref()), (12, Some("aA")));
        assert_eq!(first.resource_body, Some(br#"{"statusCode":1}"#.as_slice()));
        assert_eq!((told[1].status_code, &told[1].message), (201, &None));
    }

    #[test]
    fn a_failure_of_the_whole_has_a_kind_and_the_services_words() {
        let failed = |status, body: &str| {
            let reply = Reply { status, substatus: 7, body: body.as_bytes().to_vec(), ..Reply::default() };
            reply.into_error("writing")
        };
        let error = failed(401, r#"{"code":"Unauthorized","message":"wrong key\r\nmore"}"#);
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Authentication, "writing: wrong key (status: 401/7)".to_owned())
        );
        assert_eq!(failed(503, "no route").to_string(), "writing: no route (status: 503/7)");
        let kinds = [
            (408, ErrorKind::Timeout),
            (449, ErrorKind::Conflict),
            (404, ErrorKind::Configuration),
            (500, ErrorKind::Unavailable),
        ];
        for (status, kind) in kinds {
            assert_eq!(failed(status, "").kind(), kind);
        }
    }

    fn charged(status_code: u16, request_charge: f64) -> Answer<'static> {
        Answer { status_code, request_charge, ..Answer::default() }
    }

    #[test]
    fn a_charge_is_for_the_documents_that_were_done() {
        let reply = Reply { request_units: 9.0, ..Reply::default() };
        let told =
            [charged(201, 6.0), charged(429, 0.5), charged(449, 0.0), charged(409, 2.0), charged(503, 0.0)];
        assert_eq!(charge(&reply, &told), (8.5, 2));
        assert_eq!(charge(&reply, &[charged(201, 0.0), charged(424, 0.0), charged(429, 0.0)]), (9.0, 1));
        let again = Reply { earlier_units: 1.5, ..reply };
        assert_eq!(charge(&again, &told), (10.0, 2), "what the answers tell is of the last attempt");
    }

    #[test]
    fn what_the_service_has_not_said_is_not_of_the_document() {
        let reply = |status, substatus, is_from_service| {
            is_of_the_document(&Reply { status, substatus, is_from_service, ..Reply::default() })
        };
        for (status, substatus) in [(400, 0), (403, 1014), (404, 0), (409, 0), (429, 3200), (503, 0)] {
            assert!(reply(status, substatus, true), "{status}");
            assert!(!reply(status, substatus, false), "{status}");
        }
        assert!(!reply(401, 0, true) && !reply(403, 0, true) && !reply(404, 1003, true));
    }
}
