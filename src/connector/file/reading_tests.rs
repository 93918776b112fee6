//! The source against a naive splitter: whatever limits, chunks, partitions and resumes there are, the same records come out.

use super::cursor::{Cursor, Scope};
use super::elements::Elements;
use super::feed::Feed;
use super::format::Compression;
use super::frames::compress;
use super::lines::Lines;
use super::oversize::SLACK;
use super::plan::{Cut, Given, Reading};
use super::source::FileSource;
use super::split::Split;
use crate::connector::source::Source;
use crate::error::{ErrorKind, Result};
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::partition::{Position, Stretch};
use proptest::prelude::*;
use std::io::{self, Read};
use std::path::Path;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

/// A record: place, records before it, bytes or, if it is too large, its length.
type Record = (u64, u64, Result<Vec<u8>, u64>);

const MAX_DOCUMENT: usize = 64;

/// Gives at most so many bytes a call, in turns.
struct Dribble {
    bytes: io::Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Dribble {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        let most = into.len().min(self.sizes[self.turn % self.sizes.len()]);
        self.bytes.read(&mut into[..most])
    }
}

/// Reads to the end with `limits` in turns; asserts what must hold of every batch. Returns the records and the places
/// between batches.
fn read(
    mut next: impl FnMut(BatchLimit) -> Result<Next>,
    from: &Position,
    limits: &[(usize, usize)],
) -> (Vec<Record>, Vec<Position>, Result<()>) {
    let (mut records, mut places) = (Vec::new(), vec![from.clone()]);
    let (mut least, mut turn) = (0, 0);
    loop {
        let (documents, bytes) = limits[turn % limits.len()];
        turn += 1;
        let limit = BatchLimit { documents, bytes: bytes.max(least), max_document: MAX_DOCUMENT };
        match next(limit) {
            Ok(Next::Batch(batch)) => {
                least = 0;
                assert!(
                    batch.documents.buffer.capacity() <= limit.bytes.max(8),
                    "{} > {}",
                    batch.documents.buffer.capacity(),
                    limit.bytes
                );
                assert!(batch.documents.len() + batch.rejects.len() <= documents);
                let begun = places.last().unwrap().ordinal;
                assert!(batch.to.at > places.last().unwrap().at || batch.to.ordinal > begun);
                records.extend(records_of(&batch, begun));
                places.push(batch.to);
            }
            Ok(Next::Grow(enough)) => {
                assert!(enough > limit.bytes);
                least = enough;
            }
            Ok(Next::End) => return (records, places, Ok(())),
            Err(error) => return (records, places, Err(error)),
        }
    }
}

fn records_of(batch: &Batch, begun: u64) -> Vec<Record> {
    let documents = batch.documents.spans.iter().enumerate();
    let documents = documents
        .map(|(i, span)| (span.at, begun + u64::from(span.ordinal), Ok(batch.documents.bytes(i).to_vec())));
    let rejects = batch.rejects.iter().map(|reject| {
        let is_large = reject.length > MAX_DOCUMENT as u64;
        assert_eq!(reject.reason.starts_with("larger than max_document (64 bytes)"), is_large);
        (reject.at, begun + u64::from(reject.ordinal), Err(reject.length))
    });
    let mut records: Vec<Record> = documents.chain(rejects).collect();
    records.sort_by_key(|record| record.0);
    records
}

fn kept(at: u64, ordinal: u64, document: &[u8]) -> Record {
    (
        at,
        ordinal,
        if document.len() > MAX_DOCUMENT { Err(document.len() as u64) } else { Ok(document.to_vec()) },
    )
}

fn naive_lines(text: &[u8]) -> Vec<Record> {
    let (mut records, mut at) = (Vec::new(), 0);
    for (ordinal, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let document = if ordinal == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let document = document.trim_ascii();
        if !document.is_empty() {
            let raw = line.strip_suffix(b"\n").unwrap_or(line);
            let record = kept(at, ordinal as u64, document);
            let is_lost_in_white = raw.len() > MAX_DOCUMENT + SLACK;
            records.push(if is_lost_in_white {
                (record.0, record.1, Err(document.len() as u64))
            } else {
                record
            });
        }
        at += line.len() as u64;
    }
    records
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[ \t]{0,2}[a-z{}\"]{0,30}[ \t]{0,2}\r?",
        2 => "[a-z]{60,68} ?",
        2 => Just(String::new()),
        // Larger than what is held, blank and not.
        1 => (4_000..20_000usize).prop_map(|n| "x".repeat(n)),
        1 => (0..9_000usize, 1..9_000usize).prop_map(|(n, m)| format!("{}{}{}", " ".repeat(n), "y".repeat(m), " ".repeat(70))),
        1 => (4_000..9_000usize).prop_map(|n| " ".repeat(n)),
    ]
}

fn lines_text() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..24), any::<bool>(), any::<bool>()).prop_map(|(lines, ended, mark)| {
        let mut text = lines.join("\n");
        if ended && !text.is_empty() {
            text.push('\n');
        }
        if mark { [b"\xef\xbb\xbf", text.as_bytes()].concat() } else { text.into_bytes() }
    })
}

/// An array's text, and where its elements are.
fn array_text() -> impl Strategy<Value = (Vec<u8>, Vec<Record>)> {
    let element = prop_oneof![
        4 => "\\{\"a\":\"[a-z,\\]\\}\\[]{0,9}\",\"b\":\\[[0-9]{0,3}\\]\\}",
        1 => "\"([a-z,\\]]|\\\\\"|\\\\\\\\){0,9}\"",
        1 => "[0-9]{1,5}|null",
        1 => (50..9_000usize).prop_map(|n| format!("[\"{}\"]", "]".repeat(n))),
    ];
    let white = || "[ \n\t\r]{0,3}";
    let elements = prop::collection::vec((white(), element, white()), 0..16);
    (elements, white(), any::<bool>()).prop_map(|(elements, around, wide)| {
        let mut text = format!("{around}[{around}").into_bytes();
        let mut records = Vec::new();
        for (ordinal, (before, element, after)) in elements.iter().enumerate() {
            if ordinal > 0 {
                text.push(b',');
            }
            text.extend_from_slice(before.as_bytes());
            if wide {
                // More white space than any buffer.
                text.extend_from_slice(&[b' '; 600]);
            }
            records.push(kept(text.len() as u64, ordinal as u64, element.as_bytes()));
            text.extend_from_slice(element.as_bytes());
            text.extend_from_slice(after.as_bytes());
        }
        text.extend_from_slice(format!("]{around}").as_bytes());
        (text, records)
    })
}

fn limits() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let documents = prop_oneof![1..5usize, Just(1_000)];
    let bytes = prop_oneof![1..40usize, 40..500usize, 500..20_000usize];
    prop::collection::vec((documents, bytes), 1..6)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..700usize, 1..5)
}

fn cursor(text: Vec<u8>, sizes: Vec<usize>, split: Split) -> Cursor {
    let dribble = Dribble { bytes: io::Cursor::new(text), sizes, turn: 0 };
    let scope = Scope { file: "x".into(), compression: Compression::None, ordinal: 0, until: None };
    Cursor::new(scope, Feed::new(Box::new(dribble), 0), split)
}

fn reading(path: &Path, partition_bytes: Option<u64>) -> FileSource {
    let cut = partition_bytes.map_or(Cut::Never, Cut::Every);
    let given = vec![Given::Path(path.to_str().unwrap().to_owned())];
    FileSource::new(Reading { given, format: None, compression: None, cut, is_ordered: false })
}

fn now<T>(future: impl Future<Output = T>) -> T {
    // One for all tests: to start and stop its threads for every call takes longer than the calls.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());
    RUNTIME.block_on(future)
}

/// Everything in the source, partition by partition, with the places between batches.
fn read_source(source: &FileSource, limits: &[(usize, usize)]) -> Vec<(Vec<Record>, Vec<Position>)> {
    let partitions = now(source.partitions()).unwrap();
    let read_partition = |partition| {
        let stretch = |from: &Position, until| Stretch { from: from.clone(), until };
        let mut reader = now(source.open(partition, stretch(&partition.start, None))).unwrap();
        let (records, places, end) = read(|limit| now(reader.next(limit)), &partition.start, limits);
        end.unwrap();
        for place in &places {
            // From every place on, the rest; up to every place, what was before.
            let mut reader = now(source.open(partition, stretch(place, None))).unwrap();
            let rest = read(|limit| now(reader.next(limit)), place, limits).0;
            assert_eq!(
                rest,
                records.iter().filter(|record| record.0 >= place.at).cloned().collect::<Vec<_>>()
            );
            let mut reader =
                now(source.open(partition, stretch(&partition.start, Some(place.clone())))).unwrap();
            let before = read(|limit| now(reader.next(limit)), &partition.start, limits).0;
            assert_eq!(
                before,
                records.iter().filter(|record| record.0 < place.at).cloned().collect::<Vec<_>>()
            );
        }
        // A single record's own place is one as well.
        if let Some((at, ordinal, _)) = records.get(records.len() / 2) {
            let place = Position::new(*at, *ordinal);
            let mut reader = now(source.open(partition, stretch(&place, None))).unwrap();
            let rest = read(|limit| now(reader.next(limit)), &place, limits).0;
            assert_eq!(rest, records[records.len() / 2..]);
        }
        (records, places)
    };
    partitions.iter().map(read_partition).collect()
}

/// The extension and the bytes of a file that holds `text`.
fn packed(text: &[u8], compression: Compression, extension: &str) -> (String, Vec<u8>) {
    match compression {
        Compression::None => (extension.to_owned(), text.to_vec()),
        Compression::Gzip => {
            // Two members, the first ending anywhere.
            let (first, second) = text.split_at(text.len() / 3);
            let frames = [first, second].map(|text| compress(text, compression, 1).unwrap().concat());
            (format!("{extension}.gz"), frames.concat())
        }
        // Without an extension that tells: by its first bytes.
        Compression::Zstd => (extension.to_owned(), compress(text, compression, 1).unwrap().concat()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lines_are_those_of_a_naive_splitter(text in lines_text(), limits in limits(), sizes in sizes()) {
        let mut cursor = cursor(text.clone(), sizes, Split::Lines(Lines::new(true)));
        let (records, places, end) = read(|limit| cursor.next(limit), &Position::default(), &limits);
        end.unwrap();
        prop_assert_eq!(records, naive_lines(&text));
        prop_assert_eq!(places.last().unwrap().at, text.len() as u64);
    }

    #[test]
    fn elements_are_where_they_were_put((text, expected) in array_text(), limits in limits(), sizes in sizes()) {
        let mut cursor = cursor(text, sizes, Split::Elements(Elements::new(true)));
        let (records, _, end) = read(|limit| cursor.next(limit), &Position::default(), &limits);
        end.unwrap();
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn partitions_and_resumes_lose_and_double_nothing(text in lines_text(), limits in limits(), step in 1..6_000u64, packing in 0..3usize) {
        let compression = [Compression::None, Compression::Gzip, Compression::Zstd][packing];
        let (extension, stored) = packed(&text, compression, "jsonl");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("x.{extension}"));
        std::fs::write(&path, &stored).unwrap();
        let source = reading(&path, Some(step));
        let parts = read_source(&source, &limits);
        let cuts = match compression {
            Compression::None => stored.len().div_ceil(step as usize),
            _ => 1,
        };
        prop_assert_eq!(parts.len(), cuts);
        let expected = naive_lines(&text);
        let bare = |records: &[Record]| records.iter().map(|record| (record.0, record.2.clone().ok())).collect::<Vec<_>>();
        let all: Vec<Record> = parts.into_iter().flat_map(|(records, _)| records).collect();
        prop_assert_eq!(bare(&all), bare(&expected));
        // The line number that a person is told is the line's number in the file.
        for partition in now(source.partitions()).unwrap().iter().rev() {
            // Packed, the one partition holds everything.
            let range = partition.start.at..partition.bytes.map_or(u64::MAX, |bytes| partition.start.at + bytes);
            for (at, ordinal, _) in all.iter().filter(|record| range.contains(&record.0)) {
                let line = text[..*at as usize].iter().filter(|byte| **byte == b'\n').count() + 1;
                prop_assert_eq!(source.locate(partition, *at, *ordinal), format!("{}, line {line}, byte {at}", path.display()));
            }
        }
    }

    #[test]
    fn arrays_are_read_on_from_every_place((text, expected) in array_text(), limits in limits(), packing in 0..3usize) {
        let (extension, stored) = packed(&text, [Compression::None, Compression::Gzip, Compression::Zstd][packing], "json");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("x.{extension}"));
        std::fs::write(&path, stored).unwrap();
        let parts = read_source(&reading(&path, Some(4096)), &limits);
        prop_assert_eq!(parts.len(), 1);
        prop_assert_eq!(&parts[0].0, &expected);
    }

    #[test]
    fn a_truncated_file_gives_all_its_whole_lines(lines in prop::collection::vec("[a-z0-9]{1,50}", 1..400), cut: prop::sample::Index, zstd: bool) {
        let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
        let text = lines.join("\n");
        let stored = compress(text.as_bytes(), compression, 1).unwrap().concat();
        let cut = 4 + cut.index(stored.len() - 4);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, &stored[..cut]).unwrap();
        let source = reading(&path, None);
        let partition = now(source.partitions()).unwrap().remove(0);
        let stretch = Stretch { from: Position::default(), until: None };
        let (records, error) = match now(source.open(&partition, stretch)) {
            Ok(mut reader) => {
                let (records, _, end) = read(|limit| now(reader.next(limit)), &Position::default(), &[(7, 100)]);
                (records, end.unwrap_err())
            }
            Err(error) => (vec![], error),
        };
        prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
        prop_assert!(error.to_string().contains("byte: "), "{}", error);
        // Whole lines from the beginning, and never the piece of one.
        let whole = naive_lines(text.as_bytes());
        prop_assert_eq!(&whole[..records.len()], &records[..]);
        prop_assert!(records.len() < whole.len());
    }
}

#[test]
fn what_stands_before_damage_in_an_array_is_returned_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    std::fs::write(&path, r#"[{"a":1},{"b":2} {"c":3}]"#).unwrap();
    let source = reading(&path, None);
    let partition = now(source.partitions()).unwrap().remove(0);
    let mut reader =
        now(source.open(&partition, Stretch { from: Position::default(), until: None })).unwrap();
    let (records, _, end) = read(|limit| now(reader.next(limit)), &Position::default(), &[(9, 900)]);
    assert_eq!(records.len(), 2);
    let error = end.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let message = format!("expected , or ] after an element (file: {}, byte: 17)", path.display());
    assert!(error.to_string().ends_with(&message), "{error}");
    assert_eq!(source.locate(&partition, 9, 1), format!("{}, element 2, byte 9", path.display()));
}

#[test]
fn unusable_paths_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    for (path, expected) in
        [("none.jsonl", "no such file"), ("*.jsonl", "no file matches"), ("sub", "this is a folder")]
    {
        let path = folder.path().join(path);
        let error = now(reading(&path, None).check()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let message = error.to_string();
        assert!(message.contains(expected) && message.contains(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn ids_are_stable_and_unequal() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for path in ["a/x.jsonl", "b/x.jsonl", "b/y.jsonl", "b/empty.jsonl"] {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), if path.contains("empty") { "" } else { "{\"a\":1}\n{\"a\":2}\n" })
            .unwrap();
    }
    let ids = |paths: &[&str], step| {
        let given = paths.iter().map(|path| Given::Path(format!("{}/{path}", root.display()))).collect();
        let source =
            FileSource::new(Reading { given, format: None, compression: None, cut: step, is_ordered: false });
        now(source.partitions()).unwrap().into_iter().map(|partition| partition.id.0).collect::<Vec<_>>()
    };
    assert_eq!(
        ids(&["*/*.jsonl"], Cut::Every(9)),
        ["a/x.jsonl:0", "a/x.jsonl:9", "b/x.jsonl:0", "b/x.jsonl:9", "b/y.jsonl:0", "b/y.jsonl:9"]
    );
    assert_eq!(ids(&["b/y.jsonl", "a/x.jsonl"], Cut::Never), ["y.jsonl:0", "x.jsonl:0"]);
    // What is given twice is read once.
    assert_eq!(ids(&["b/y.jsonl", "b/*.jsonl"], Cut::Never), ["y.jsonl:0", "x.jsonl:0"]);
    let full = |path| format!("{}/{path}:0", root.display());
    assert_eq!(ids(&["a/x.jsonl", "b/x.jsonl"], Cut::Never), [full("a/x.jsonl"), full("b/x.jsonl")]);
}

#[test]
fn a_changed_file_changes_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    std::fs::write(&path, "{}\n").unwrap();
    let check = |step| now(reading(&path, step).check()).unwrap();
    let before = check(Some(4096));
    assert_eq!(before, check(Some(4096)));
    assert!(
        before[0].contains(", 3 bytes, hash ")
            && before[0].ends_with("json-lines, compression none, cut every 4096 bytes"),
        "{before:?}"
    );
    assert_ne!(before, check(None));
    std::fs::write(&path, "[]\n").unwrap();
    assert_ne!(before, check(Some(4096)));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let text: String = (0..2_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("it had 20890 bytes and has 100", |path| {
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
        }),
        ("another file has taken its place", |path| {
            let other = path.with_extension("new");
            std::fs::copy(path, &other).unwrap();
            std::fs::rename(other, path).unwrap();
        }),
        ("it was written to", |path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("it cannot be found any more", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (says, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, &text).unwrap();
        let source = reading(&path, Some(8 * 1024));
        now(source.check()).unwrap();
        let partitions = now(source.partitions()).unwrap();
        let whole = |number: usize| Stretch { from: partitions[number].start.clone(), until: None };
        let mut first = now(source.open(&partitions[0], whole(0))).unwrap();
        change(&path);
        let refused = |error: crate::error::Error| {
            assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        };
        refused(now(source.open(&partitions[1], whole(1))).err().unwrap());
        let limit = BatchLimit { documents: 100, bytes: 4096, max_document: MAX_DOCUMENT };
        let error = loop {
            match now(first.next(limit)) {
                Ok(Next::Batch(_)) => {}
                Ok(Next::Grow(_) | Next::End) => panic!("{says}"),
                Err(error) => break error,
            }
        };
        refused(error);
    }
}

#[test]
fn the_bundled_file_is_there() {
    let (name, bytes) = super::BUNDLED[0];
    let reading = Reading {
        given: vec![Given::Bundled(name, bytes)],
        format: None,
        compression: None,
        cut: Cut::Never,
        is_ordered: false,
    };
    let source = FileSource::new(reading);
    let parts = read_source(&source, &[(1_000_000, 64 << 20)]);
    assert!(!parts[0].0.is_empty());
    assert!(source.capabilities().resumable);
}

#[test]
fn a_file_is_cut_by_its_size_where_nobody_says() {
    let step = |length| Cut::BySize.step(length).unwrap();
    assert_eq!((step(0), step(5 << 20)), (1 << 20, 1 << 20));
    assert_eq!((step(100 << 20), step(1 << 30)), (2 << 20, 16 << 20));
    assert_eq!(step(1 << 40), 64 << 20);
}

/// A file with a hole takes no room on the disk.
#[test]
fn lines_far_on_in_a_file_are_not_counted() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.jsonl");
    std::fs::write(&path, "{}\n{}\n").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(400 * MIB).unwrap();
    let reading = Reading {
        given: vec![Given::Path(path.to_str().unwrap().to_owned())],
        format: None,
        compression: None,
        cut: Cut::Every(128 * MIB),
        is_ordered: false,
    };
    let source = FileSource::new(reading);
    let partitions = now(source.partitions()).unwrap();
    let place = |number: usize| source.locate(&partitions[number], 400 * MIB, 5);
    assert_eq!(place(0), format!("{}, line 6, byte {}", path.display(), 400 * MIB));
    assert_eq!(place(1), format!("{}, line 9, byte {}", path.display(), 400 * MIB));
    assert_eq!(place(3), format!("{}, byte {}", path.display(), 400 * MIB));
}
