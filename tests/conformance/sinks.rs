//! The checks of a sink.

use crate::conformance::fixture::{
    Target, assert_taken, checkpoint, contents, document, documents, held, partition, prepare, requests,
    send_all,
};
use docferry::connector::{Prepare, Sink, Start};
use docferry::error::ErrorKind;
use docferry::model::document::{Document, Documents};
use docferry::model::request::{Request, Segment};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;

macro_rules! sink_checks {
    ($fixture:expr) => {
        crate::conformance::sinks::sink_checks! { $fixture;
            looking_changes_nothing
            what_was_sent_is_read_back
            documents_are_told_apart_by_their_ids
            a_later_version_replaces_an_earlier_one
            requests_are_taken_at_the_same_time
            a_send_that_was_given_up_can_be_sent_again
            a_document_without_an_id_is_refused_alone
            ids_of_different_kinds_do_not_replace_one_another
            the_identity_stays
            a_foreign_target_is_refused
            a_resumed_run_leaves_each_document_once
            the_checkpoint_is_committed_with_the_documents
            a_run_that_was_replaced_commits_nothing
        }
    };
    ($fixture:expr; $($check:ident)+) => {
        $(#[tokio::test]
        async fn $check() {
            crate::conformance::sinks::$check(&$fixture.await).await;
        })+
    };
}
pub(crate) use sink_checks;

pub(crate) async fn looking_changes_nothing(target: &Target) {
    let sink = (target.open)();
    sink.check().await.unwrap();
    sink.identity().await.unwrap();
    assert_eq!(sink.stored("job").await.unwrap(), None);
    assert_eq!(std::fs::read_dir(target.folder.path()).unwrap().count(), 0);
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    sink.check().await.unwrap();
    assert_eq!(sink.stored("another job").await.unwrap(), None);
}

pub(crate) async fn what_was_sent_is_read_back(target: &Target) {
    let sink = (target.open)();
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    send_all(&*sink, &documents()).await;
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    sink.finish().await.unwrap();
    for sink in [sink, (target.open)()] {
        let Some(found) = contents(&*sink).await else { return };
        assert_eq!(found, held(&*sink, documents()));
    }
}

pub(crate) async fn documents_are_told_apart_by_their_ids(target: &Target) {
    let sink = (target.open)();
    if !sink.capabilities().keyed {
        return;
    }
    // `verify` asks without a run, so before the target is prepared.
    let route = |bytes: &[u8]| sink.route(&Document { bytes, ..Document::default() });
    let all = documents();
    let identities: BTreeSet<u64> = all.iter().map(|bytes| route(bytes).unwrap().identity).collect();
    assert_eq!(identities.len(), all.len());
    assert_eq!(
        route(&document(1, "earlier")).unwrap().identity,
        route(&document(1, "later")).unwrap().identity
    );
    assert!(route(br#"{"no":"id"}"#).is_err());
}

pub(crate) async fn a_later_version_replaces_an_earlier_one(target: &Target) {
    let sink = (target.open)();
    if !sink.capabilities().keyed {
        return;
    }
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    let second: Vec<_> = (0..20).map(|number| document(number, "second")).collect();
    // Both versions in one go: the request is cut between them.
    send_all(&*sink, &[documents(), second.clone()].concat()).await;
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    let expected = [second, documents()[20..].to_vec()].concat();
    assert_eq!(contents(&*sink).await.unwrap(), held(&*sink, expected));
}

pub(crate) async fn requests_are_taken_at_the_same_time(target: &Target) {
    let sink = (target.open)();
    if sink.capabilities().serial {
        return;
    }
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    let lanes = sink.lanes();
    let tasks: Vec<_> = documents()
        .chunks(10)
        .flat_map(|documents| requests(&*sink, documents))
        .map(|(lane, request)| {
            let lane = Arc::clone(&lanes[lane as usize]);
            tokio::spawn(async move { lane.send(request).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_taken(&task.await.unwrap());
    }
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    if let Some(found) = contents(&*sink).await {
        assert_eq!(found, held(&*sink, documents()));
    }
}

pub(crate) async fn a_send_that_was_given_up_can_be_sent_again(target: &Target) {
    let sink = (target.open)();
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    let lanes = sink.lanes();
    for (lane, request) in requests(&*sink, &documents()) {
        let lane = &lanes[lane as usize];
        let mut given_up = lane.send(request.clone());
        let is_done =
            std::future::poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_ready())).await;
        drop(given_up);
        if !is_done {
            assert_taken(&lane.send(request).await.unwrap());
        }
    }
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    sink.finish().await.unwrap();
    if let Some(found) = contents(&*sink).await {
        assert_eq!(found, held(&*sink, documents()));
    }
}

pub(crate) async fn a_document_without_an_id_is_refused_alone(target: &Target) {
    let sink = (target.open)();
    if !sink.capabilities().keyed {
        return;
    }
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    let nameless =
        [r#"{"secret":1}"#, r#"{"id":null}"#, r#"{"id":{"secret":1}}"#, r#"{"id":"secret\ud800"}"#];
    for document in nameless {
        let reason = refusal(&*sink, document.as_bytes()).await.unwrap();
        assert!(reason.contains("id") && !reason.contains("secret"), "{reason}");
    }
    send_all(&*sink, &documents()).await;
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    assert_eq!(contents(&*sink).await.unwrap(), held(&*sink, documents()));
}

/// Why the target does not take a document; `None` if it does.
async fn refusal(sink: &dyn Sink, document: &[u8]) -> Option<String> {
    let mut buffer = Documents::default();
    buffer.push(document, 0, 0);
    let route = match sink.route(&buffer.get(0, 0)) {
        Err(reason) => return Some(reason),
        Ok(route) => route,
    };
    let segment = Segment { documents: Arc::new(buffer), partition: 0, range: 0..1 };
    let request = Request { segments: vec![segment] };
    let mut outcome = sink.lanes()[route.lane as usize].send(request).await.unwrap();
    assert!(outcome.rejected.iter().all(|(index, _)| *index == 0) && outcome.rejected.len() < 2);
    outcome.rejected.pop().map(|(_, reason)| reason)
}

pub(crate) async fn ids_of_different_kinds_do_not_replace_one_another(target: &Target) {
    let sink = (target.open)();
    if !sink.capabilities().keyed {
        return;
    }
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    let route = |bytes| sink.route(&Document { bytes, ..Document::default() });
    if route(br#"{"id":7}"#).is_err_and(|reason| reason.starts_with("illegal id")) {
        // It takes strings alone, so there is nothing to be taken for one another.
        return assert_eq!(refusal(&*sink, br#"{"id":"7"}"#).await, None);
    }
    // The two of a pair have one identity, so the target has one place for them.
    let mut expected = Vec::new();
    for (document, is_new) in [
        (r#"{"id":7,"year":1}"#, true),
        (r#"{"id":"7","year":2}"#, true),
        (r#"{"year":3,"id":"true"}"#, true),
        (r#"{"year":4,"id":true}"#, true),
        (r#"{"id":7,"year":5}"#, false),
    ] {
        match refusal(&*sink, document.as_bytes()).await {
            Some(reason) => assert!(is_new && reason.contains("id taken"), "{document}: {reason}"),
            None if is_new => expected.push(document.as_bytes().to_vec()),
            None => expected[0] = document.as_bytes().to_vec(),
        }
    }
    assert!(expected.len() > 1, "the first of each pair is taken");
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    assert_eq!(contents(&*sink).await.unwrap(), held(&*sink, expected.clone()));
    let (late, of_the_same_kind) = (br#"{"id":"7","year":6}"#, br#"{"id":7,"year":7}"#);
    assert!(refusal(&*sink, late).await.is_some_and(|reason| reason.contains("\"id\" is a string")));
    assert_eq!(refusal(&*sink, of_the_same_kind).await, None, "after a flush too");
    expected[0] = of_the_same_kind.to_vec();
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    assert_eq!(contents(&*sink).await.unwrap(), held(&*sink, expected));
}

pub(crate) async fn the_identity_stays(target: &Target) {
    let sink = (target.open)();
    let before = sink.identity().await.unwrap();
    let prepared = prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    assert!(before.is_none_or(|before| before == prepared));
    send_all(&*sink, &documents()).await;
    sink.flush(&checkpoint(&*sink, "run").await).await.unwrap();
    sink.finish().await.unwrap();
    assert_eq!(sink.identity().await.unwrap().as_deref(), Some(&*prepared));
    assert_eq!((target.open)().identity().await.unwrap(), Some(prepared));
}

pub(crate) async fn a_foreign_target_is_refused(target: &Target) {
    let sink = (target.open)();
    prepare(&*sink, "theirs", Start::Fresh, None).await.unwrap();
    send_all(&*sink, &documents()).await;
    let theirs = checkpoint(&*sink, "theirs").await;
    sink.flush(&theirs).await.unwrap();
    sink.finish().await.unwrap();
    let Some(before) = contents(&*sink).await else { return };

    // That run has ended: a target may be held for as long as it is written to.
    drop(sink);
    let sink = (target.open)();
    let mut foreign = theirs.clone();
    foreign.fingerprint.target = "elsewhere".to_owned();
    foreign.target_state = serde_json::Value::Null;
    for previous in [None, Some(&foreign)] {
        let refusal = prepare(&*sink, "ours", Start::Fresh, previous).await.unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Configuration, "{refusal}");
        assert!(refusal.remedy().contains("--overwrite"), "{refusal}");
    }
    assert_eq!(contents(&*sink).await.unwrap(), before, "a refusal changes nothing");
    prepare(&*sink, "ours", Start::Fresh, Some(&theirs)).await.unwrap();

    drop(sink);
    let sink = (target.open)();
    let ours = Prepare {
        job: "another job",
        run: "ours",
        partitions: &[partition()],
        start: Start::Fresh,
        previous: None,
        overwrite: true,
    };
    sink.prepare(ours).await.unwrap();
}

pub(crate) async fn a_resumed_run_leaves_each_document_once(target: &Target) {
    let all = documents();
    let killed = (target.open)();
    prepare(&*killed, "killed", Start::Fresh, None).await.unwrap();
    send_all(&*killed, &all[..60]).await;
    let saved = checkpoint(&*killed, "killed").await;
    killed.flush(&saved).await.unwrap();
    send_all(&*killed, &all[60..100]).await;
    drop(killed);

    let resumed = (target.open)();
    let saved = resumed.stored("job").await.unwrap().unwrap_or(saved);
    prepare(&*resumed, "resumed", Start::Resume, Some(&saved)).await.unwrap();
    send_all(&*resumed, &all[60..]).await;
    resumed.flush(&checkpoint(&*resumed, "resumed").await).await.unwrap();
    resumed.finish().await.unwrap();
    if let Some(found) = contents(&*resumed).await {
        assert_eq!(found, held(&*resumed, all));
    }
}

pub(crate) async fn the_checkpoint_is_committed_with_the_documents(target: &Target) {
    let sink = (target.open)();
    if !sink.capabilities().transactional {
        return;
    }
    let all = documents();
    prepare(&*sink, "run", Start::Fresh, None).await.unwrap();
    send_all(&*sink, &all[..60]).await;
    let other = (target.open)();
    assert_eq!(other.stored("job").await.unwrap(), None);
    assert_eq!(contents(&*other).await.unwrap().len(), 0);
    let saved = checkpoint(&*sink, "run").await;
    sink.flush(&saved).await.unwrap();
    send_all(&*sink, &all[60..]).await;
    assert_eq!(other.stored("job").await.unwrap(), Some(saved.clone()));
    assert_eq!(contents(&*other).await.unwrap(), held(&*other, all[..60].to_vec()));
    drop(sink);
    assert_eq!(other.stored("job").await.unwrap(), Some(saved.clone()));
    assert_eq!(contents(&*other).await.unwrap().len(), 60);
    prepare(&*other, "anew", Start::Fresh, Some(&saved)).await.unwrap();
    assert_eq!(other.stored("job").await.unwrap(), None, "a fresh start forgets how far the last one came");
    assert_eq!(contents(&*other).await.unwrap().len(), 60, "and deletes nothing");
}

pub(crate) async fn a_run_that_was_replaced_commits_nothing(target: &Target) {
    let replaced = (target.open)();
    if !replaced.capabilities().transactional {
        return;
    }
    let all = documents();
    prepare(&*replaced, "replaced", Start::Fresh, None).await.unwrap();
    send_all(&*replaced, &all[..60]).await;
    let saved = checkpoint(&*replaced, "replaced").await;
    replaced.flush(&saved).await.unwrap();

    let heir = (target.open)();
    prepare(&*heir, "heir", Start::Resume, Some(&saved)).await.unwrap();
    send_all(&*replaced, &all[60..100]).await;
    assert_eq!(replaced.flush(&saved).await.unwrap_err().kind(), ErrorKind::Held);
    assert_eq!(contents(&*heir).await.unwrap().len(), 60);
    send_all(&*heir, &all[60..]).await;
    heir.flush(&checkpoint(&*heir, "heir").await).await.unwrap();
    assert_eq!(contents(&*heir).await.unwrap(), held(&*heir, all));
    assert_eq!(replaced.flush(&saved).await.unwrap_err().kind(), ErrorKind::Held);
}
