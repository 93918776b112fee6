//! What a test does to the emulator from outside: reads the ledger, sets faults, splits a range. These paths are not signed.

use super::Account;
use super::answer::{Answer, Asked};
use super::metadata::refused;
use http::Method;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitOrder {
    /// `database/container`.
    container: String,
    range: String,
    /// Only let the range answer that a split is about to end; a second order without this ends it.
    #[serde(default)]
    begin: bool,
}

/// Answers `/_ledger`, `/_faults` and `/_split`.
pub(super) fn answer(account: &Account, asked: &Asked, name: &str) -> Answer {
    let outcome = match (&asked.method, name) {
        (&Method::GET, "_ledger") => Ok(Answer::json(200, &json!(account.ledger()))),
        (&Method::GET, "_faults") => Ok(Answer::json(200, &json!(*account.dice.faults()))),
        (&Method::POST, "_faults") => set_faults(account, asked),
        (&Method::POST, "_split") => split(account, asked),
        _ => Err(Answer::failure(405, "GET /_ledger, GET or POST /_faults, POST /_split.")),
    };
    outcome.unwrap_or_else(|failure| failure)
}

fn set_faults(account: &Account, asked: &Asked) -> Result<Answer, Answer> {
    let changed = account.dice.faults().changed_by(&asked.body).map_err(|why| Answer::failure(400, &why))?;
    let answer = Answer::json(200, &json!(changed));
    account.dice.set(changed);
    Ok(answer)
}

fn split(account: &Account, asked: &Asked) -> Result<Answer, Answer> {
    let order: SplitOrder = serde_json::from_slice(&asked.body).map_err(|cause| {
        Answer::failure(400, &format!("{{\"container\":\"database/container\",\"range\":\"0\"}}: {cause}"))
    })?;
    if order.begin {
        account.begin_split(&order.container, &order.range).map_err(|error| refused(&error))?;
        return Ok(Answer::json(200, &json!({ "children": [] })));
    }
    let children = account.split(&order.container, &order.range).map_err(|error| refused(&error))?;
    Ok(Answer::json(200, &json!({ "children": children })))
}
