//! From a connection to an answer: the transport, who is asking, where the request goes, and what befalls it on the way.

use super::Account;
use super::answer::{Answer, Asked};
use super::auth::decode;
use super::container::Container;
use super::faults::{Draws, Fault};
use super::metadata::{self, missing};
use super::{batch, point, query};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// No body is read further, whatever the limit that is answered with 413.
const MOST_READ: usize = 16 * 1024 * 1024;

/// A batch fits into these windows of HTTP/2, so that no client waits for leave to send the rest.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Takes connections until `stop` says so; then drops those that are open.
pub(super) async fn accept(listener: TcpListener, account: Arc<Account>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = told(&mut stop) => return connections.shutdown().await,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&account)))),
                // Out of descriptors, most likely: others must close before another is opened.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// Ends when it is said to stop, or when nobody is left who could say it.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(stream: TcpStream, account: Arc<Account>) {
    // Small answers must not wait for an acknowledgement. Where the option cannot be set, they do.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let service = service_fn(|request| respond(Arc::clone(&account), request));
    // A client that goes away in the middle is no failure of ours.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// An error closes the connection.
async fn respond(account: Arc<Account>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let asked = match Limited::new(body, MOST_READ).collect().await {
        Ok(body) => Asked {
            method: head.method,
            path: decode(head.uri.path()),
            headers: head.headers,
            body: body.to_bytes(),
            now: account.since_start(),
        },
        Err(cause) if cause.is::<LengthLimitError>() => {
            return Ok(Answer::failure(413, "Request size is too large.").into_response());
        }
        Err(_) => {
            let message = "The body did not arrive as its length or its chunks promised.";
            return Ok(Answer::failure(400, message).into_response());
        }
    };
    let activity = asked.header("x-ms-activity-id").map(str::to_owned);
    let (answer, wait) = answer(&account, &asked)?;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    Ok(match activity {
        Some(activity) => answer.with("x-ms-activity-id", activity),
        None => answer,
    }
    .into_response())
}

/// The answer, and how long to keep it back.
fn answer(account: &Account, asked: &Asked) -> io::Result<(Answer, Duration)> {
    let given = asked.path.trim_matches('/');
    let by_names = account.catalog().by_names(given);
    let names: Vec<&str> = by_names.as_deref().unwrap_or(given).split('/').collect();
    if let ["_ledger" | "_faults" | "_split"] = names[..] {
        return Ok((super::control::answer(account, asked, names[0]), Duration::ZERO));
    }
    if !account.options.no_auth && !is_signed(account, asked, by_names.is_some()) {
        let message = "The input authorization token can't serve the request: the signature is not that of the account's key.";
        return Ok((Answer::failure(401, message), Duration::ZERO));
    }
    if let ["dbs", database, "colls", container, "docs", rest @ ..] = &names[..] {
        let Some(container) = account.container(&format!("{database}/{container}")) else {
            return Ok((missing(), Duration::ZERO));
        };
        return documents(account, &container, asked, rest);
    }
    let answer = match &names[..] {
        [""] if asked.method == Method::GET => Ok(metadata::account(account)),
        ["dbs"] => metadata::databases(account, asked, None),
        ["dbs", database] => metadata::databases(account, asked, Some(database)),
        ["dbs", database, "colls"] => metadata::containers(account, asked, database, None),
        ["dbs", database, "colls", container] => {
            metadata::containers(account, asked, database, Some(container))
        }
        ["dbs", database, "colls", container, "pkranges"] => account
            .container(&format!("{database}/{container}"))
            .ok_or_else(missing)
            .and_then(|container| metadata::ranges(&container, asked)),
        ["offers"] => metadata::offers(account, asked, None),
        ["offers", offer] => metadata::offers(account, asked, Some(offer)),
        _ => Err(Answer::failure(404, "The emulator has nothing at this path.")),
    };
    Ok((answer.unwrap_or_else(|failure| failure), Duration::ZERO))
}

fn is_signed(account: &Account, asked: &Asked, by_ids: bool) -> bool {
    let date = asked.header("x-ms-date").or_else(|| asked.header("date")).unwrap_or_default();
    let token = asked.header("authorization").unwrap_or_default();
    account.authority.accepts(token, asked.method.as_str(), &asked.path, date, by_ids)
}

/// A request for documents, which faults may befall.
fn documents(
    account: &Account,
    container: &Container,
    asked: &Asked,
    rest: &[&str],
) -> io::Result<(Answer, Duration)> {
    let mut draws = account.dice.next();
    let fault = draws.request();
    let wait = draws.latency();
    let closed = || io::Error::from(io::ErrorKind::ConnectionAborted);
    let before = match fault {
        Some(Fault::DropBeforeCommit) => return Err(closed()),
        Some(Fault::Throttle) => Some(Answer::throttled(Duration::from_millis(FAULTY_WAIT_MS))),
        Some(Fault::RetryWith) => Some(Answer::failure(449, "Another write is under way: try again.")),
        Some(Fault::Internal) => Some(Answer::failure(500, "An internal error, as was asked for.")),
        Some(Fault::Unavailable) => {
            Some(Answer::failure(503, "The service is unavailable, as was asked for."))
        }
        _ if asked.body.len() > draws.faults.body_limit => {
            Some(Answer::failure(413, "Request size is too large."))
        }
        _ => None,
    };
    if let (Some(Fault::Split), Some(range)) = (fault, asked.range()) {
        // Where it cannot be split the request meets the range as it is.
        let _ = account.split(&container.link, range);
    }
    let answer = match before {
        Some(answer) => answer,
        None => on_documents(container, asked, rest, &mut draws).unwrap_or_else(|failure| failure),
    };
    match fault {
        Some(Fault::DropAfterCommit) => Err(closed()),
        Some(Fault::TimeoutAfterCommit) => {
            Ok((Answer::failure(408, "The request was done but took too long."), wait))
        }
        Some(Fault::Stall) => Ok((answer, wait + Duration::from_millis(draws.faults.stall_ms))),
        _ => Ok((answer, wait)),
    }
}

/// What a throttled request is told when nothing but a fault throttles it.
const FAULTY_WAIT_MS: u64 = 10;

fn on_documents(
    container: &Container,
    asked: &Asked,
    rest: &[&str],
    draws: &mut Draws,
) -> Result<Answer, Answer> {
    let is_post = asked.method == Method::POST;
    match rest {
        [] if is_post && asked.is_set("x-ms-cosmos-is-query-plan-request") => query::plan(asked),
        [] if is_post && is_query(asked) => query::answer(container, asked, true),
        [] if is_post && asked.is_set("x-ms-cosmos-is-batch-request") => {
            if asked.is_set("x-ms-cosmos-batch-atomic") {
                return batch::atomic(container, asked);
            }
            batch::of_range(container, asked, || draws.operation())
        }
        [] if asked.method == Method::GET && asked.header("a-im").is_some() => {
            Err(Answer::failure(400, "The emulator has no change feed."))
        }
        [] if asked.method == Method::GET => query::answer(container, asked, false),
        [] => point::answer(container, asked, None),
        [id] => point::answer(container, asked, Some(id)),
        _ => Err(Answer::failure(404, "The emulator has nothing at this path.")),
    }
}

fn is_query(asked: &Asked) -> bool {
    asked.is_set("x-ms-documentdb-isquery") || asked.header("content-type") == Some("application/query+json")
}
