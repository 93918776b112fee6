//! The sink against a naive writer: whatever requests, flushes and crashes there are, the same bytes come out.

use super::format::{Compression, Format};
use super::sheet::Layout;
use super::sink::FileSink;
use super::target::Target;
use crate::connector::sink::{Prepare, Sink, Start};
use crate::error::{ErrorKind, Result};
use crate::model::batch::{BatchLimit, Next};
use crate::model::checkpoint::Checkpoint;
use crate::model::document::Documents;
use crate::model::partition::{Partition, PartitionId, Position, Stretch};
use crate::model::request::{Request, Segment};
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use tokio::runtime::{Builder, Runtime};

fn now<T>(future: impl Future<Output = T>) -> T {
    // One for all tests: to start and stop its threads for every call takes longer than the calls.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());
    RUNTIME.block_on(future)
}

fn partitions(count: usize) -> Vec<Partition> {
    let partition = |i| Partition {
        id: PartitionId(format!("p{i}")),
        start: Position::default(),
        bytes: None,
        documents: None,
    };
    (0..count).map(partition).collect()
}

fn sink(path: &Path, format: Format, compression: Compression) -> FileSink {
    let level = if compression == Compression::None { 0 } else { 1 };
    FileSink::new(Target::new(path.to_str().unwrap(), "jsonl"), Layout { format, compression, level })
}

fn prepare(sink: &FileSink, start: Start, previous: Option<&Checkpoint>, overwrite: bool) -> Result<String> {
    let partitions = partitions(2);
    now(sink.prepare(Prepare { job: "j", run: "r", partitions: &partitions, start, previous, overwrite }))
}

fn request(documents: &[Vec<u8>], partition: u32) -> Request {
    let mut all = Documents::default();
    documents.iter().for_each(|document| all.push(document, 0, 0));
    let range = 0..documents.len() as u32;
    Request { segments: vec![Segment { documents: Arc::new(all), partition, range }], leave: None }
}

fn send(sink: &FileSink, lane: usize, documents: &[Vec<u8>]) {
    let outcome = now(sink.lanes()[lane].send(request(documents, lane as u32))).unwrap();
    assert!(outcome.rejected.is_empty() && outcome.retry.is_empty() && outcome.put_off.is_empty());
}

fn checkpoint(sink: &FileSink) -> Checkpoint {
    let checkpoint = Checkpoint { target_state: sink.mark().unwrap(), ..Checkpoint::default() };
    now(sink.flush(&checkpoint)).unwrap();
    checkpoint
}

fn expected_text(documents: &[Vec<u8>], format: Format) -> Vec<u8> {
    match (format, documents) {
        (Format::Lines, _) => documents.iter().flat_map(|document| [document, &b"\n"[..]].concat()).collect(),
        (Format::Array, []) => b"[\n]\n".to_vec(),
        (Format::Array, _) => [b"[\n", &documents.join(&b",\n"[..])[..], b"\n]\n"].concat(),
    }
}

fn read_back(sink: &FileSink) -> Vec<Vec<u8>> {
    let source = sink.read_back().unwrap();
    let mut found = Vec::new();
    for partition in now(source.partitions()).unwrap() {
        let mut reader =
            now(source.open(&partition, Stretch { from: partition.start.clone(), until: None })).unwrap();
        let limit = BatchLimit { documents: 1_000, bytes: 4 << 20, max_document: 1 << 20 };
        while let Next::Batch(batch) = now(reader.next(limit)).unwrap() {
            found.extend((0..batch.documents.len()).map(|i| batch.documents.bytes(i).to_vec()));
        }
    }
    found
}

const LAYOUTS: [(Format, Compression); 5] = [
    (Format::Lines, Compression::None),
    (Format::Lines, Compression::Gzip),
    (Format::Lines, Compression::Zstd),
    (Format::Array, Compression::None),
    (Format::Array, Compression::Zstd),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Requests cut anywhere; a checkpoint after some of them; a crash, after more was written, and a resume from it.
    #[test]
    fn bytes_do_not_depend_on_requests_and_crashes(
        sizes in prop::collection::vec(prop_oneof![8 => 1..400usize, 1 => 100_000..700_000usize], 0..24),
        cuts in prop::collection::vec((1..6usize, 0..4u8), 1..12),
        layout in prop::sample::select(&LAYOUTS[..]),
    ) {
        let documents: Vec<Vec<u8>> = sizes.iter().enumerate()
            .map(|(i, size)| format!("{{\"i\":{i},\"x\":\"{}\"}}", "0123456789".repeat(size / 10)).into_bytes()).collect();
        let (format, compression) = layout;
        let folder = tempfile::tempdir().unwrap();

        let whole = folder.path().join("whole.out");
        let once = sink(&whole, format, compression);
        prepare(&once, Start::Fresh, None, false).unwrap();
        send(&once, 0, &documents);
        now(once.finish()).unwrap();

        let path = folder.path().join("cut.out");
        let mut current = sink(&path, format, compression);
        prepare(&current, Start::Fresh, None, false).unwrap();
        let (mut stored, mut stored_at, mut at, mut turn) = (checkpoint(&current), 0, 0, 0);
        let mut crashes = 0;
        while at < documents.len() {
            let (count, what) = cuts[turn % cuts.len()];
            turn += 1;
            let end = documents.len().min(at + count);
            send(&current, 0, &documents[at..end]);
            at = end;
            if what == 1 {
                (stored, stored_at) = (checkpoint(&current), at);
            } else if what == 2 && crashes < 3 {
                crashes += 1;
                current = sink(&path, format, compression);
                prepare(&current, Start::Resume, Some(&stored), false).unwrap();
                at = stored_at;
            }
        }
        now(current.finish()).unwrap();

        prop_assert!(std::fs::read(&path).unwrap() == std::fs::read(&whole).unwrap());
        prop_assert!(read_back(&current) == documents);
        if compression == Compression::None {
            prop_assert!(std::fs::read(&path).unwrap() == expected_text(&documents, format));
        }
    }
}

#[test]
fn an_empty_output_is_a_valid_file() {
    let folder = tempfile::tempdir().unwrap();
    for (i, (format, compression)) in LAYOUTS.into_iter().enumerate() {
        let path = folder.path().join(format!("{i}.out"));
        let sink = sink(&path, format, compression);
        prepare(&sink, Start::Fresh, None, false).unwrap();
        now(sink.finish()).unwrap();
        let stored = std::fs::read(&path).unwrap();
        let text = match compression {
            Compression::None => stored,
            Compression::Gzip => {
                std::io::read_to_string(flate2::read::GzDecoder::new(&stored[..])).unwrap().into_bytes()
            }
            Compression::Zstd => zstd::decode_all(&stored[..]).unwrap(),
        };
        assert_eq!(text, expected_text(&[], format));
        assert!(read_back(&sink).is_empty());
    }
}

#[test]
fn a_line_break_between_tokens_does_not_break_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let sink = sink(&path, Format::Lines, Compression::None);
    prepare(&sink, Start::Fresh, None, false).unwrap();
    send(&sink, 0, &[b"{\n \"a\": 1.10\r\n}".to_vec(), b"{ \"b\" : 2 }".to_vec()]);
    now(sink.finish()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1.10}\n{ \"b\" : 2 }\n");
}

#[test]
fn only_the_jobs_own_file_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let try_fresh = |previous: Option<&Checkpoint>, overwrite| {
        prepare(&sink(&path, Format::Lines, Compression::None), Start::Fresh, previous, overwrite).map(drop)
    };
    std::fs::write(&path, "precious\n").unwrap();
    let error = try_fresh(None, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.remedy().contains("--overwrite"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious\n");
    try_fresh(None, true).unwrap();

    let first = sink(&path, Format::Lines, Compression::None);
    prepare(&first, Start::Fresh, None, false).unwrap();
    send(&first, 0, &[b"{}".to_vec()]);
    now(first.finish()).unwrap();
    let finished = checkpoint(&first);
    drop(first);
    std::fs::write(&path, "{1\n").unwrap();
    assert!(try_fresh(Some(&finished), false).is_err());
    let changed =
        prepare(&sink(&path, Format::Lines, Compression::None), Start::Resume, Some(&finished), false)
            .unwrap_err();
    assert!(changed.to_string().contains("has changed since the checkpoint"), "{changed}");
    std::fs::write(&path, "{}\nmore\n").unwrap();
    assert!(try_fresh(Some(&finished), false).is_err(), "somebody wrote behind its end");
    std::fs::write(&path, "{}\n").unwrap();
    try_fresh(Some(&finished), false).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    // A run that was killed may have written more than it noted.
    let killed = sink(&path, Format::Lines, Compression::None);
    prepare(&killed, Start::Fresh, None, false).unwrap();
    send(&killed, 0, &[b"{}".to_vec()]);
    let noted = checkpoint(&killed);
    drop(killed);
    std::fs::write(&path, "{}\nmore\n").unwrap();
    try_fresh(Some(&noted), false).unwrap();
}

#[test]
fn a_folder_has_a_part_for_every_partition() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let first = sink(&path, Format::Lines, Compression::None);
    now(first.check()).unwrap();
    assert_eq!(now(first.identity()).unwrap(), None);
    prepare(&first, Start::Fresh, None, false).unwrap();
    send(&first, 1, &[b"{\"a\":1}".to_vec()]);
    let noted = checkpoint(&first);
    send(&first, 0, &[b"{\"lost\":1}".to_vec()]);
    send(&first, 1, &[b"{\"lost\":2}".to_vec()]);
    drop(first);

    let second = sink(&path, Format::Lines, Compression::None);
    let identity = prepare(&second, Start::Resume, Some(&noted), false).unwrap();
    assert_eq!(now(second.identity()).unwrap(), Some(identity));
    send(&second, 1, &[b"{\"a\":2}".to_vec()]);
    now(second.finish()).unwrap();
    let text = |name| std::fs::read_to_string(path.join(name)).unwrap();
    assert_eq!(
        (text("part-00000.jsonl"), text("part-00001.jsonl")),
        (String::new(), "{\"a\":1}\n{\"a\":2}\n".into())
    );
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
    assert!(prepare(&sink(&path, Format::Lines, Compression::None), Start::Fresh, None, false).is_err());
    let finished = checkpoint(&second);
    drop(second);
    prepare(&sink(&path, Format::Lines, Compression::None), Start::Fresh, Some(&finished), false).unwrap();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}

/// Whether a run is killed before its part is ended, before that is in a checkpoint, or after: the same bytes come out.
#[test]
fn a_finished_part_holds_nothing_in_memory_and_is_ended_once() {
    let documents: Vec<Vec<u8>> = (0..100).map(|i| format!("{{\"i\":{i}}}").into_bytes()).collect();
    for (number, (format, compression)) in LAYOUTS.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(number.to_string());
        let open = |start, previous| {
            let sink = sink(&path, format, compression);
            prepare(&sink, start, previous, false).unwrap();
            sink
        };
        let end = |sink: &FileSink| now(sink.end_partitions(&[0])).unwrap();
        let first = open(Start::Fresh, None);
        send(&first, 0, &documents);
        let before = checkpoint(&first);
        end(&first);
        let after = checkpoint(&first);
        let noted = &after.target_state["parts"]["part-00000.jsonl"];
        assert_eq!((noted["ended"].as_bool(), noted.get("tail")), (Some(true), None), "{after:?}");
        now(first.lanes()[0].send(request(&documents, 0))).unwrap_err();
        let ended = std::fs::read(path.join("part-00000.jsonl")).unwrap();
        drop(first);
        for (noted, is_told) in [(&before, true), (&before, false), (&after, true), (&after, false)] {
            let resumed = open(Start::Resume, Some(noted));
            if is_told {
                end(&resumed);
            }
            now(resumed.finish()).unwrap();
            assert!(std::fs::read(path.join("part-00000.jsonl")).unwrap() == ended);
            assert!(read_back(&resumed) == documents);
        }
    }
}

#[test]
fn a_request_that_nobody_waited_for_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    // Once in a while the write has ended when it is looked at first; then another file is tried.
    let (sink, path) = (0..100)
        .map(|number| folder.path().join(format!("{number}.jsonl")))
        .find_map(|path| {
            let sink = sink(&path, Format::Lines, Compression::None);
            prepare(&sink, Start::Fresh, None, false).unwrap();
            let lane = Arc::clone(&sink.lanes()[0]);
            let was_answered = now(async {
                // Polled once: the write has begun, and goes on without us.
                let sent = lane.send(request(&[vec![b'x'; 100]], 0));
                tokio::select! { biased; _ = sent => true, () = std::future::ready(()) => false }
            });
            (!was_answered).then_some((sink, path))
        })
        .unwrap();
    assert_eq!(sink.mark().unwrap()["parts"], serde_json::json!({}));
    send(&sink, 0, &[b"{}".to_vec()]);
    now(sink.finish()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
}

#[test]
fn a_write_that_begins_too_late_does_nothing() {
    use super::part::{Extent, Part, Shared};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let layout = Layout { format: Format::Lines, compression: Compression::None, level: 0 };
    let part = Part::new(Some(path.clone()), Arc::new(Shared::new(layout)), Extent::default());
    let (early, late) = (part.turn(), part.turn());
    part.accept(part.append(late, &request(&[b"{}".to_vec()], 0)).unwrap());
    part.append(early, &request(&[b"{\"late\":1}".to_vec()], 0)).unwrap_err();
    part.finish().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
}

#[test]
fn a_target_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("x.jsonl")).unwrap();
    std::fs::write(folder.path().join("plain"), "").unwrap();
    for (path, expected) in
        [("x.jsonl", "this is a folder"), ("plain", "this is a file"), ("none/x.jsonl", "does not exist")]
    {
        let error =
            now(sink(&folder.path().join(path), Format::Lines, Compression::None).check()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(expected), "{error}");
    }
    now(sink(&folder.path().join("new.jsonl"), Format::Lines, Compression::None).check()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_from_other_failures() {
    use super::part::{Extent, Part, Shared};
    let layout = Layout { format: Format::Lines, compression: Compression::None, level: 0 };
    let part = Part::new(Some("/dev/full".into()), Arc::new(Shared::new(layout)), Extent::default());
    let error = part.append(part.turn(), &request(&[b"{}".to_vec()], 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}
