//! The checks of a source.

use crate::conformance::fixture::{Origin, ROOMY, Seen, next, read, whole};
use docferry::connector::Source;
use docferry::model::batch::{BatchLimit, Next};
use docferry::model::partition::{Partition, Position, Stretch};
use std::collections::HashSet;

macro_rules! source_checks {
    ($fixture:expr) => {
        crate::conformance::sources::source_checks! { $fixture;
            partitions_are_the_same_in_every_instance
            all_documents_come_in_order_and_unchanged
            a_batch_keeps_to_its_limits
            places_do_not_depend_on_limits
            every_batch_ends_where_a_reader_may_begin
            a_stretch_ends_where_it_was_told
            a_document_that_is_too_large_is_a_reject
            stretches_are_read_at_the_same_time
            position_ids_are_unique_stable_and_clean
        }
    };
    ($fixture:expr; $($check:ident)+) => {
        $(#[tokio::test]
        async fn $check() {
            crate::conformance::sources::$check(&$fixture.await).await;
        })+
    };
}
pub(crate) use source_checks;

const FEW: BatchLimit = BatchLimit { documents: 7, ..ROOMY };

pub(crate) async fn partitions_are_the_same_in_every_instance(origin: &Origin) {
    let (one, other) = ((origin.open)(), (origin.open)());
    let partitions = one.partitions().await.unwrap();
    assert_eq!(one.partitions().await.unwrap(), partitions);
    assert_eq!(other.partitions().await.unwrap(), partitions);
    assert_eq!(one.check().await.unwrap(), other.check().await.unwrap());
    assert_eq!(one.capabilities(), other.capabilities());
    let ids: HashSet<_> = partitions.iter().map(|partition| &partition.id).collect();
    assert_eq!(ids.len(), partitions.len());
    for partition in &partitions {
        let seen = read(&*other, partition, whole(partition), ROOMY).await;
        if let Some(documents) = partition.documents {
            assert_eq!(seen.documents.len() as u64, documents);
        }
    }
}

pub(crate) async fn all_documents_come_in_order_and_unchanged(origin: &Origin) {
    let source = (origin.open)();
    let mut documents = Vec::new();
    for partition in source.partitions().await.unwrap() {
        let seen = read(&*source, &partition, whole(&partition), ROOMY).await;
        assert_eq!(seen.rejects, []);
        documents.extend(seen.bytes());
    }
    assert_eq!(documents, origin.documents);
}

pub(crate) async fn a_batch_keeps_to_its_limits(origin: &Origin) {
    let source = (origin.open)();
    let limit = BatchLimit { documents: 7, bytes: 600, ..ROOMY };
    for partition in source.partitions().await.unwrap() {
        let mut reader = source.open(&partition, whole(&partition)).await.unwrap();
        loop {
            let mut limit = limit;
            let mut answer = reader.next(limit).await.unwrap();
            if let Next::Grow(bytes) = answer {
                assert!(bytes > limit.bytes);
                limit.bytes = bytes;
                answer = reader.next(limit).await.unwrap();
            }
            let Next::Batch(batch) = answer else { break };
            assert!(batch.documents.len() <= limit.documents);
            let bytes: u32 = batch.documents.spans.iter().map(|span| span.length).sum();
            assert!(bytes as usize <= limit.bytes);
        }
    }
}

pub(crate) async fn places_do_not_depend_on_limits(origin: &Origin) {
    let source = (origin.open)();
    for partition in source.partitions().await.unwrap() {
        let roomy = read(&*source, &partition, whole(&partition), ROOMY).await;
        for documents in [1, 7] {
            let limit = BatchLimit { documents, bytes: 300, ..ROOMY };
            assert_eq!(read(&*source, &partition, whole(&partition), limit).await, roomy);
        }
        let rises = |pair: &[(u64, u64, Vec<u8>)]| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
        assert!(roomy.documents.windows(2).all(rises), "places and ordinals grow");
    }
}

pub(crate) async fn every_batch_ends_where_a_reader_may_begin(origin: &Origin) {
    let (source, later) = ((origin.open)(), (origin.open)());
    for partition in source.partitions().await.unwrap() {
        let all = read(&*source, &partition, whole(&partition), ROOMY).await;
        for (place, before) in places(&*source, &partition).await {
            let rest = read(&*later, &partition, Stretch { from: place, until: None }, ROOMY).await;
            assert_eq!(rest.documents, all.documents[before..]);
        }
    }
}

pub(crate) async fn a_stretch_ends_where_it_was_told(origin: &Origin) {
    let source = (origin.open)();
    for partition in source.partitions().await.unwrap() {
        let all = read(&*source, &partition, whole(&partition), ROOMY).await;
        let places = places(&*source, &partition).await;
        for (index, (from, first)) in places.iter().enumerate() {
            for (until, last) in
                [places.get(index), places.get(index + 2), places.last()].into_iter().flatten()
            {
                let stretch = Stretch { from: from.clone(), until: Some(until.clone()) };
                let seen = read(&*source, &partition, stretch, BatchLimit { documents: 5, ..ROOMY }).await;
                assert_eq!(seen.documents, all.documents[*first..*last]);
            }
        }
    }
}

pub(crate) async fn a_document_that_is_too_large_is_a_reject(origin: &Origin) {
    let source = (origin.open)();
    let largest = origin.documents.iter().map(Vec::len).max().unwrap();
    let max_document = largest - 1;
    let (mut kept, mut lengths) = (Vec::new(), Vec::new());
    for partition in source.partitions().await.unwrap() {
        let roomy = read(&*source, &partition, whole(&partition), ROOMY).await;
        for limit in
            [BatchLimit { max_document, ..ROOMY }, BatchLimit { max_document, bytes: 10, documents: 3 }]
        {
            let seen = read(&*source, &partition, whole(&partition), limit).await;
            let too_large = roomy.documents.iter().filter(|(_, _, bytes)| bytes.len() > max_document);
            let places: Vec<u64> = too_large.map(|(at, _, _)| *at).collect();
            assert_eq!(seen.rejects.iter().map(|(at, _, _)| *at).collect::<Vec<_>>(), places);
            if limit.bytes == ROOMY.bytes {
                kept.extend(seen.bytes());
                lengths.extend(seen.rejects.iter().map(|(_, length, _)| *length as usize));
            }
        }
    }
    let expected = origin.documents.iter().filter(|document| document.len() <= max_document);
    assert_eq!(kept, expected.cloned().collect::<Vec<_>>());
    assert!(!lengths.is_empty() && lengths.iter().all(|length| *length > 0));
}

pub(crate) async fn stretches_are_read_at_the_same_time(origin: &Origin) {
    let source = (origin.open)();
    let mut readers = Vec::new();
    for partition in source.partitions().await.unwrap() {
        let mut places = places(&*source, &partition).await;
        let last = places.pop().unwrap().0;
        let ends =
            places.iter().skip(1).map(|(place, _)| Some(place.clone())).chain([Some(last.clone()), None]);
        let starts = places.iter().map(|(place, _)| place.clone()).chain([last]);
        for (from, until) in starts.zip(ends) {
            let stretch = Stretch { from: from.clone(), until };
            readers.push((from, source.open(&partition, stretch).await.unwrap()));
        }
    }
    // Tasks of their own: each reader is used by one, and all of them at once.
    let tasks: Vec<_> = readers
        .into_iter()
        .map(|(mut from, mut reader)| {
            tokio::spawn(async move {
                let mut seen = Seen::default();
                while let Some(batch) = next(&mut *reader, FEW).await {
                    seen.add(from.ordinal, &batch);
                    from = batch.to;
                }
                seen.bytes()
            })
        })
        .collect();
    let mut documents = Vec::new();
    for task in tasks {
        documents.extend(task.await.unwrap());
    }
    assert_eq!(documents, origin.documents);
}

pub(crate) async fn position_ids_are_unique_stable_and_clean(origin: &Origin) {
    let (source, later) = ((origin.open)(), (origin.open)());
    let mut ids = HashSet::new();
    for partition in source.partitions().await.unwrap() {
        for (at, ordinal, _) in read(&*source, &partition, whole(&partition), ROOMY).await.documents {
            let (mut id, mut again) = (String::new(), String::new());
            source.position_id(&partition, at, &mut id);
            later.position_id(&partition, at, &mut again);
            assert_eq!(id, again);
            assert!(!id.contains(|c: char| "/\\?#".contains(c) || c.is_control()), "{id}");
            assert!(ids.insert(id));
            assert!(!source.locate(&partition, at, ordinal).is_empty());
        }
    }
    assert_eq!(ids.len(), origin.documents.len());
}

/// The places where a partition's batches begin and end, each with the documents before it.
async fn places(source: &dyn Source, partition: &Partition) -> Vec<(Position, usize)> {
    let mut reader = source.open(partition, whole(partition)).await.unwrap();
    let (mut places, mut before) = (vec![(partition.start.clone(), 0)], 0);
    while let Some(batch) = next(&mut *reader, FEW).await {
        before += batch.documents.len();
        places.push((batch.to, before));
    }
    places
}
