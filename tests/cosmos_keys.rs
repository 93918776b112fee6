//! Modes and partition keys of Cosmos: what each way of sending makes of them, and where documents come to lie.
//!
//! The endpoint hashes keys by the same code; that the code is right is shown by `partition_keys.rs`.

use crate::cosmos::{LIMIT, UNLIMITED, endpoint, held, migrate, options, overwriting, sorted, until};
use crate::support::Trial;
use docferry::connector::Sink;
use docferry::connector::cosmos::{CosmosSink, Encoder, Mode, TargetOptions};
use docferry::connector::memory::MemorySource;
use docferry::emulator::{Emulator, Faults, Options, Running};
use std::ops::Range;
use std::sync::Arc;

const ENCODERS: [Encoder; 4] = [Encoder::Bulk, Encoder::Batch, Encoder::Point, Encoder::Auto];

/// With so many physical partitions.
async fn divided(partitions: u32) -> Running {
    Emulator::start(Options { throughput: UNLIMITED, partitions, ..Options::default() }).await.unwrap()
}

/// Each mode in turn, sent in each way: to one key, so that atomic batches are sent and fail for the sake of one document, and to many.
#[tokio::test(flavor = "multi_thread")]
async fn every_mode_does_the_same_whatever_the_way_of_sending() {
    for (encoder, keys) in ENCODERS.into_iter().flat_map(|encoder| [(encoder, 1), (encoder, 7)]) {
        let running = endpoint().await;
        let what = format!("{encoder:?}, {keys} keys");
        let version = |ids: Range<usize>, version: usize| -> Vec<String> {
            let document = |id| format!(r#"{{"id":"{id}","customer":{},"v":{version}}}"#, id % keys);
            ids.map(document).collect()
        };
        let send = async |mode, documents: Vec<String>| {
            let options = TargetOptions { mode, encoder, ..options(&running, &["/customer"]) };
            let counters = overwriting(&documents, options).await.ended.counters;
            (counters.written, counters.rejected)
        };
        assert_eq!(send(Mode::Upsert, version(0..60, 1)).await, (60, 0), "{what}");
        // Ten that are there and differ, ten that are there and equal, ten that are new.
        let inserted = [version(40..50, 2), version(50..70, 1)].concat();
        assert_eq!(send(Mode::Insert, inserted).await, (20, 10), "{what}");
        assert_eq!(send(Mode::Replace, version(60..80, 3)).await, (10, 10), "{what}");
        assert_eq!(
            send(Mode::Delete, [version(0..30, 9), version(90..95, 9)].concat()).await,
            (35, 0),
            "{what}"
        );
        let expected = [version(30..60, 1), version(60..70, 3)].concat();
        assert_eq!(held(&running).await, sorted(&expected), "{what}");
    }
}

/// An address would lose part of such an id, or lead to the container.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_no_address_can_carry_is_upserted_and_nothing_else() {
    let ids = ["..", ".", "a\\tb", "a\\nb", "ab"];
    let documents = ids.map(|id| format!(r#"{{"id":"{id}","customer":1}}"#));
    for encoder in [Encoder::Auto, Encoder::Point] {
        let running = endpoint().await;
        // One after the other, so that each is alone in its request.
        for document in &documents {
            let options = TargetOptions { encoder, ..options(&running, &["/customer"]) };
            let counters = overwriting(std::slice::from_ref(document), options).await.ended.counters;
            assert_eq!(counters.written, 1, "{document}");
        }
        for mode in [Mode::Insert, Mode::Replace, Mode::Delete] {
            for document in &documents[..4] {
                let options = TargetOptions { mode, encoder, ..options(&running, &["/customer"]) };
                let counters = overwriting(std::slice::from_ref(document), options).await.ended.counters;
                assert_eq!((counters.written, counters.rejected), (0, 1), "{mode:?} {document}");
            }
        }
        assert_eq!(held(&running).await, sorted(&documents));
    }
}

/// Many versions of few documents, with faults that send some of them again: the last of the source is what stays.
#[tokio::test(flavor = "multi_thread")]
async fn versions_of_one_document_stay_in_source_order() {
    for encoder in ENCODERS {
        let running = endpoint().await;
        running.set_faults(Faults {
            latency_ms: 1.0,
            jitter_ms: 1.0,
            throttle_operation: 0.02,
            retry_with: 0.02,
            timeout_after_commit: 0.02,
            ..Faults::default()
        });
        let version =
            |number: usize| format!(r#"{{"id":"{}","customer":{},"v":{number}}}"#, number % 5, number % 3);
        let documents: Vec<String> = (0..300).map(version).collect();
        let options = TargetOptions { encoder, ..options(&running, &["/customer"]) };
        let source = MemorySource::given([documents.clone()]);
        let done = Trial::new(source, Arc::new(CosmosSink::new(options))).start().await.end(LIMIT).await;
        let counters = done.ended.counters;
        assert_eq!((counters.written + counters.superseded, counters.rejected), (300, 0), "{encoder:?}");
        running.set_faults(Faults::default());
        assert_eq!(held(&running).await, sorted(&documents[285..]), "{encoder:?}");
    }
}

/// A key of every type, many of each, so that they lie in all of the partitions.
fn keyed(count: usize) -> Vec<String> {
    let key = |number: usize| match number % 11 {
        0 => format!(r#","k":{number}"#),
        1 => format!(r#","k":"{number}""#),
        2 => format!(r#","k":{number}.5"#),
        3 => format!(r#","k":-{number}"#),
        4 => r#","k":true"#.to_owned(),
        5 => r#","k":false"#.to_owned(),
        6 => r#","k":null"#.to_owned(),
        7 => String::new(),
        8 => format!(r#","k":{{"a":{number}}}"#),
        9 => format!(r#","k":"é\"\\{number}😀""#),
        _ => format!(r#","k":"{number}{}""#, "x".repeat(300)),
    };
    (0..count).map(|number| format!(r#"{{"id":"{number}"{}}}"#, key(number))).collect()
}

/// Every level there, and each of them missing in some documents.
fn hierarchical(count: usize) -> Vec<String> {
    let document = |number: usize| {
        let field =
            |every: usize, text: String| if number.is_multiple_of(every) { String::new() } else { text };
        let tenant = field(7, format!(r#","tenant":"t{}""#, number % 601));
        let user = field(5, format!(r#","user":{{"name":{}}}"#, number % 13));
        let session = field(3, format!(r#","session":{}"#, ["true", "null", "1.5", "\"s\""][number % 4]));
        format!(r#"{{"id":"{number}"{tenant}{user}{session}}}"#)
    };
    (0..count).map(document).collect()
}

/// Everything is written at once and nothing again: an operation that is sent to the wrong range is answered 410 there.
async fn lie_where_they_belong(documents: &[String], paths: &[&str], encoder: Encoder) {
    let running = divided(25).await;
    let done = migrate(documents, TargetOptions { encoder, ..options(&running, paths) }).await;
    let counters = done.ended.counters;
    assert_eq!((counters.written, counters.rejected), (documents.len() as u64, 0), "{encoder:?}");
    assert_eq!(done.meter.retried.get(), 0, "{encoder:?}");
    let ledger = running.ledger().containers.remove(0);
    assert_eq!(ledger.partitions.len(), 25);
    let operations: u64 = ledger.partitions.iter().map(|partition| partition.operations).sum();
    assert_eq!(operations, documents.len() as u64 + 25, "each once, and a look into each partition");
    assert!(ledger.partitions.iter().all(|partition| partition.documents > 0), "{encoder:?}");
    assert_eq!(held(&running).await, sorted(documents), "{encoder:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_find_their_partition() {
    for encoder in ENCODERS {
        lie_where_they_belong(&keyed(1_100), &["/k"], encoder).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hierarchical_keys_find_their_partition() {
    for encoder in ENCODERS {
        lie_where_they_belong(&hierarchical(1_000), &["/tenant", "/user/name"], encoder).await;
        lie_where_they_belong(&hierarchical(1_000), &["/tenant", "/user/name", "/session"], encoder).await;
    }
}

/// Every partition is divided while documents with keys of every type are on their way.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_find_their_partition_across_splits() {
    let cases =
        [(keyed(4_000), vec!["/k"]), (hierarchical(4_000), vec!["/tenant", "/user/name", "/session"])];
    for (documents, paths) in cases {
        for encoder in [Encoder::Bulk, Encoder::Point] {
            let running = divided(3).await;
            running.set_faults(Faults { latency_ms: 5.0, ..Faults::default() });
            let sink = Arc::new(CosmosSink::new(TargetOptions { encoder, ..options(&running, &paths) }));
            let source = MemorySource::given([documents.clone()]);
            let trial = Trial::new(source, Arc::clone(&sink) as Arc<dyn Sink>).start().await;
            for range in ["0", "1", "2"] {
                let before = trial.meter.answered.get();
                until(|| trial.meter.answered.get() >= before + 5).await;
                running.split("shop/orders", range).unwrap();
            }
            let done = trial.end(LIMIT).await;
            let counters = done.ended.counters;
            assert_eq!((counters.written, counters.rejected), (4_000, 0), "{encoder:?} {paths:?}");
            running.set_faults(Faults::default());
            assert_eq!(held(&running).await, sorted(&documents), "{encoder:?} {paths:?}");
        }
    }
}
