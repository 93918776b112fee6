//! The container as a source: every document of every physical partition, page by page.
//!
//! **Positions.** The service numbers no documents. What it gives is a token that leads to a page; how many documents that page holds is its own
//! affair and another number each time, as documents are deleted, expire and come. So a position is the token of the page that is being read, and inside
//! the page the last few documents that were passed, by their resource ids. Whoever goes on from there passes over
//! what lies up to the last of these that is still there, and never merely so many: what is not known to have been read is read. Where
//! all of them are gone the page is read from its beginning, so documents may be read twice, and none is left out.
//!
//! **Places.** A finished stretch is known by its two places, so places must stay in order although documents come and go between them. They lie
//! [`STEP`] apart. A stretch that must end at a place ends behind the document that lay before it, at which it lies then; what has come in
//! between is numbered into the gap that the last step leaves.
//!
//! When a physical partition is divided between two runs, the list of partitions is another one, and a resume is refused.

use crate::connector::cosmos::Place;
use crate::connector::cosmos::client::{Client, Container, Found, Pages, Range};
use crate::connector::source::{Reader, Source, SourceCapabilities};
use crate::error::{Error, ErrorKind, Result};
use crate::model::BoxFuture;
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::partition::{Partition, PartitionId, Position, Stretch};
use crate::model::reject::{Reject, RejectedBy};
use crate::model::units::{Bytes, Counted};
use std::collections::VecDeque;
use std::mem;
use tokio::sync::OnceCell;
use xxhash_rust::xxh3::xxh3_64;

/// From one place to the next. A partition has room for four billion documents, and as many may come between two of them.
const STEP: u64 = 1 << 32;

/// Documents that a position knows. With several it is seldom that all of them are gone.
const MARKS: usize = 4;

/// A container as a source.
#[derive(Debug)]
pub struct CosmosSource {
    place: Place,
    container: OnceCell<Container>,
    ranges: OnceCell<Vec<Range>>,
}

impl CosmosSource {
    /// Reads the container.
    pub fn new(place: Place) -> Self {
        Self { place, container: OnceCell::new(), ranges: OnceCell::new() }
    }

    async fn container(&self) -> Result<&Container> {
        let found = self.container.get_or_try_init(async || {
            let client = Client::of(&self.place.account).await?;
            let found = client.container(&self.place.database, &self.place.container, None).await?;
            found.ok_or_else(|| {
                Error::configuration("opening the source", "the container does not exist")
                    .with("container", self.place.name())
            })
        });
        found.await
    }

    /// The physical partitions as they were when first asked for.
    async fn ranges(&self) -> Result<&Vec<Range>> {
        let container = self.container().await?;
        self.ranges.get_or_try_init(async || container.ranges(true).await).await
    }
}

fn name(range: &Range) -> String {
    format!("{}-{}", range.min, range.max)
}

/// What tells a list of ranges from another, also from one of as many: where one range was divided and two were merged.
fn layout(ranges: &[Range]) -> String {
    let names: String = ranges.iter().map(|range| format!("{} {}\n", range.id, name(range))).collect();
    format!(
        "{} (layout {:016x})",
        Counted(ranges.len() as u64, "physical partition"),
        xxh3_64(names.as_bytes())
    )
}

impl Source for CosmosSource {
    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resumable: true, ordered: false }
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let container = self.container().await?;
            Ok(vec![format!("{}: {}", container.identity(), layout(self.ranges().await?))])
        })
    }

    fn partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>>> {
        Box::pin(async {
            let partition = |range: &Range| Partition {
                id: PartitionId(name(range)),
                start: Position::default(),
                bytes: None,
                documents: None,
            };
            Ok(self.ranges().await?.iter().map(partition).collect())
        })
    }

    fn open<'a>(
        &'a self,
        partition: &'a Partition,
        stretch: Stretch,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            let lost =
                |what: &str| Error::internal("opening the source", what).with("partition", &partition.id);
            let mut ranges = self.ranges().await?.iter();
            let range = ranges.find(|range| name(range) == partition.id.0);
            let range = range.ok_or_else(|| lost("there is no such partition"))?;
            let from = Bookmark::read(stretch.from.token.as_deref());
            let mut from = from.ok_or_else(|| lost("a damaged position"))?;
            let mut until = match &stretch.until {
                None => None,
                Some(until) => {
                    Some(Until::read(until).ok_or_else(|| lost("a damaged end of a finished stretch"))?)
                }
            };
            let container = self.container().await?;
            let counts_documents = from.passed > 0 || until.is_some();
            if counts_documents && !container.ranges(true).await?.contains(range) {
                // Divided since: the documents behind the token come in another order, so none of them is known to have been passed.
                (from.passed, from.marks) = (0, Vec::new());
                until.iter_mut().for_each(|until| until.mark = Some(NO_DOCUMENT));
            }
            let pages = container.pages(range, from.token.as_deref(), None).await?;
            Ok(Box::new(CosmosReader::new(partition, pages, from, &stretch.from, until)) as _)
        })
    }

    fn is_target(&self, place: &str, identity: &str) -> bool {
        // An account has an address in each region, so the same container may be at another place.
        let is_elsewhere = || self.container.get().is_some_and(|own| own.identity() == identity);
        place == self.place.name() || !self.place.account.is_on_this_machine() && is_elsewhere()
    }

    fn locate(&self, partition: &Partition, _at: u64, ordinal: u64) -> String {
        format!("{}, range {}, document {ordinal}", self.place.name(), partition.id)
    }

    fn position_id(&self, partition: &Partition, at: u64, out: &mut String) {
        // Ranges are named by hexadecimal digits.
        *out = match at % STEP {
            0 => format!("{}@{}", partition.id, at / STEP),
            between => format!("{}@{}.{between}", partition.id, at / STEP),
        };
    }
}

/// Where to go on: what a position's token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bookmark {
    /// What leads to the page; `None` to the first.
    token: Option<String>,
    /// So many of its documents were passed.
    passed: usize,
    /// The last documents that were passed, in that page or before it, the newest last.
    marks: Vec<u64>,
}

impl Bookmark {
    fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::default()) };
        let mut parts = text.splitn(3, ' ');
        let passed = parts.next()?.parse().ok()?;
        let marks = parts.next()?.split(',').filter(|mark| !mark.is_empty());
        let marks = marks.map(|mark| u64::from_str_radix(mark, 16).ok()).collect::<Option<_>>()?;
        let token = Some(parts.next()?).filter(|token| !token.is_empty()).map(str::to_owned);
        Some(Self { token, passed, marks })
    }

    fn write(&self) -> String {
        let marks: Vec<String> = self.marks.iter().map(|mark| format!("{mark:x}")).collect();
        format!("{} {} {}", self.passed, marks.join(","), self.token.as_deref().unwrap_or_default())
    }
}

/// A mark that no document is found by: what ends behind it is read to the partition's end.
const NO_DOCUMENT: u64 = u64::MAX;

/// Where a stretch ends.
#[derive(Clone, Debug)]
struct Until {
    at: u64,
    /// The document before that place.
    mark: Option<u64>,
}

impl Until {
    fn read(position: &Position) -> Option<Self> {
        let mark = Bookmark::read(position.token.as_deref())?.marks.last().copied();
        Some(Self { at: position.at, mark })
    }

    /// The place behind a document at `at`.
    fn behind(&self, at: u64, mark: u64) -> u64 {
        match self.mark {
            Some(last) if last == mark => self.at,
            // What lay before the end has not come yet, so this is not the end.
            Some(_) if self.at - at <= STEP => at + 1,
            _ => at + STEP,
        }
    }
}

/// What a reader reads: pages, one after the other.
trait Paged: Send {
    /// The documents of the next page; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<Found>>>> + Send;

    /// What leads to the page behind the last one.
    fn token(&self) -> Result<String>;
}

impl Paged for Pages {
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<Found>>>> + Send {
        Pages::next(self)
    }

    fn token(&self) -> Result<String> {
        Pages::token(self)
    }
}

/// A page, and what leads to it and behind it.
#[derive(Default)]
struct Page {
    token: Option<String>,
    documents: Vec<Found>,
    behind: Option<String>,
}

struct CosmosReader<P> {
    partition: String,
    /// `None` behind the last page.
    pages: Option<P>,
    /// What leads to the next page that is fetched.
    next: Option<String>,
    /// So many documents were passed of the first pages when this reader was opened; zero as soon as they are found.
    passed: usize,
    marks: Vec<u64>,
    /// Pages that were fetched to find them.
    ahead: VecDeque<Page>,
    /// The page that is being read, and how many of its documents are taken.
    page: Page,
    taken: usize,
    at: u64,
    ordinal: u64,
    until: Option<Until>,
}

impl<P: Paged> CosmosReader<P> {
    fn new(partition: &Partition, pages: P, from: Bookmark, start: &Position, until: Option<Until>) -> Self {
        Self {
            partition: partition.id.0.clone(),
            pages: Some(pages),
            next: from.token,
            passed: from.passed,
            marks: from.marks,
            ahead: VecDeque::new(),
            page: Page::default(),
            taken: 0,
            at: start.at,
            ordinal: start.ordinal,
            until,
        }
    }

    /// Whether the page has no document left.
    fn is_read(&self) -> bool {
        self.taken == self.page.documents.len()
    }

    fn is_at_the_end(&self) -> bool {
        self.until.as_ref().is_some_and(|until| self.at >= until.at)
    }

    async fn fetch(&mut self) -> Result<Option<Page>> {
        let Some(pages) = &mut self.pages else { return Ok(None) };
        let Some(documents) = pages.next().await? else {
            self.pages = None;
            return Ok(None);
        };
        let behind = Some(pages.token()?);
        let token = mem::replace(&mut self.next, behind.clone());
        Ok(Some(Page { token, documents, behind }))
    }

    /// Goes behind the last document that is known to have been passed. It was in one page; now it may be in a later one.
    async fn pass_over(&mut self) -> Result<()> {
        let newest = self.marks.last().copied();
        let (mut looked_at, mut last) = (0, None);
        while looked_at < self.passed {
            let Some(page) = self.fetch().await? else { break };
            looked_at += page.documents.len();
            let place = page.documents.iter().rposition(|document| self.marks.contains(&document.mark));
            let is_newest = place.is_some_and(|place| Some(page.documents[place].mark) == newest);
            last = place.map(|place| (self.ahead.len(), place)).or(last);
            self.ahead.push_back(page);
            if is_newest {
                break;
            }
        }
        self.passed = 0;
        let Some((number, place)) = last else { return Ok(()) };
        self.ahead.drain(..number);
        if let Some(page) = self.ahead.pop_front() {
            (self.page, self.taken) = (page, place + 1);
        }
        Ok(())
    }

    /// Sees to it that the page has a document left; false at the end.
    async fn turn(&mut self) -> Result<bool> {
        if self.passed > 0 {
            self.pass_over().await?;
        }
        while self.is_read() {
            let page = match self.ahead.pop_front() {
                Some(page) => page,
                None => match self.fetch().await? {
                    Some(page) => page,
                    None => return Ok(false),
                },
            };
            (self.page, self.taken) = (page, 0);
        }
        Ok(true)
    }

    /// Goes behind the next document of the page.
    fn take(&mut self, mark: u64) {
        self.taken += 1;
        self.ordinal += 1;
        self.at = self.until.as_ref().map_or(self.at + STEP, |until| until.behind(self.at, mark));
        if self.marks.len() == MARKS {
            self.marks.remove(0);
        }
        self.marks.push(mark);
    }

    /// Where a reader that is opened now would go on.
    fn bookmark(&self) -> Bookmark {
        let (token, passed) =
            if self.is_read() { (&self.page.behind, 0) } else { (&self.page.token, self.taken) };
        Bookmark { token: token.clone(), passed, marks: self.marks.clone() }
    }

    async fn read(&mut self, limit: BatchLimit) -> Result<Next> {
        let (mut batch, first) = (Batch::default(), self.ordinal);
        // Spans hold 32-bit offsets.
        let bytes = limit.bytes.min(u32::MAX as usize);
        while !self.is_at_the_end() && self.ordinal - first < limit.documents.max(1) as u64 {
            // A batch ends with its page: behind it another request begins.
            if self.ordinal > first && self.is_read() {
                break;
            }
            if !self.turn().await? {
                break;
            }
            let Some(Found { text, mark }) = self.page.documents.get(self.taken) else { break };
            let (ordinal, mark) = ((self.ordinal - first) as u32, *mark);
            if text.len() > limit.max_document {
                batch.rejects.push(too_large(self.at, ordinal, text.len(), limit.max_document));
            } else if batch.documents.buffer.len() + text.len() <= bytes {
                batch.documents.push(text, self.at, ordinal);
            } else if ordinal == 0 {
                return Ok(Next::Grow(text.len()));
            } else {
                break;
            }
            self.take(mark);
        }
        if self.ordinal == first {
            return Ok(Next::End);
        }
        batch.documents.buffer.shrink_to_fit();
        batch.to = Position { at: self.at, ordinal: self.ordinal, token: Some(self.bookmark().write()) };
        Ok(Next::Batch(batch))
    }
}

impl<P: Paged> Reader for CosmosReader<P> {
    fn next(&mut self, limit: BatchLimit) -> BoxFuture<'_, Result<Next>> {
        Box::pin(async move {
            self.read(limit).await.map_err(|error| match error.kind() {
                // Whatever it was, the run can be gone on with.
                ErrorKind::Throttled | ErrorKind::Conflict => error.with_kind(ErrorKind::Unavailable),
                _ => error.with("partition", &self.partition),
            })
        })
    }
}

fn too_large(at: u64, ordinal: u32, length: usize, limit: usize) -> Reject {
    let reason = format!("larger than the limit of {}", Bytes(limit as u64));
    Reject {
        by: RejectedBy::Read,
        reason,
        at,
        ordinal,
        offset: None,
        bytes: Vec::new(),
        length: length as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition_key::Epk;

    #[test]
    fn a_bookmark_is_written_and_read() {
        let mark = |token: Option<&str>, passed, marks: &[u64]| Bookmark {
            token: token.map(str::to_owned),
            passed,
            marks: marks.to_vec(),
        };
        let marks = [mark(None, 0, &[]), mark(None, 7, &[1]), mark(Some("c1.a b"), 12, &[u64::MAX, 0, 9])];
        for bookmark in marks {
            assert_eq!(Bookmark::read(Some(&bookmark.write())), Some(bookmark));
        }
        assert_eq!(Bookmark::read(None), Some(Bookmark::default()));
        for damaged in ["x", "1", "1 2", "1 x t", "-1 2 t"] {
            assert_eq!(Bookmark::read(Some(damaged)), None, "{damaged}");
        }
    }

    #[test]
    fn another_layout_of_as_many_ranges_is_another_one() {
        let range = |id: &str, min: &str, max: &str| {
            let place = |hex| Epk::from_hex(hex).unwrap();
            Range { id: id.to_owned(), min: place(min), max: place(max) }
        };
        let before = [range("0", "", "1F"), range("1", "1F", "2F"), range("2", "2F", "FF")];
        // 0 was divided, 1 and 2 were merged.
        let after = [range("3", "", "0F"), range("4", "0F", "1F"), range("5", "1F", "FF")];
        assert!(layout(&before).starts_with("3 physical partitions (layout "), "{}", layout(&before));
        assert_ne!(layout(&before), layout(&after));
        assert_eq!(layout(&before), layout(&before.clone()));
    }

    /// Numbers as documents, in pages of the given sizes, the last of which is that of all that follow. A token is the number from which the page
    /// begins.
    struct Sized {
        numbers: Vec<u64>,
        sizes: Vec<usize>,
        from: u64,
    }

    impl Paged for Sized {
        async fn next(&mut self) -> Result<Option<Vec<Found>>> {
            let size = if self.sizes.len() > 1 { self.sizes.remove(0) } else { self.sizes[0] };
            let left: Vec<u64> = self.numbers.iter().copied().filter(|number| *number >= self.from).collect();
            if left.is_empty() {
                return Ok(None);
            }
            let page = &left[..size.min(left.len())];
            self.from = page.last().map_or(self.from, |last| last + 1);
            Ok(Some(
                page.iter().map(|number| Found { text: number.to_string().into(), mark: *number }).collect(),
            ))
        }

        fn token(&self) -> Result<String> {
            Ok(self.from.to_string())
        }
    }

    /// Reads a stretch, at most so many documents at once and in all, and says what was reached.
    async fn read(numbers: &[u64], sizes: &[usize], stretch: &Stretch, most: usize) -> (Vec<u64>, Position) {
        let from = Bookmark::read(stretch.from.token.as_deref()).unwrap();
        let start = from.token.as_ref().map_or(0, |token| token.parse().unwrap());
        let id = PartitionId("p".to_owned());
        let partition = Partition { id, start: Position::default(), bytes: None, documents: None };
        let pages = Sized { numbers: numbers.to_vec(), sizes: sizes.to_vec(), from: start };
        let until = stretch.until.as_ref().map(|until| Until::read(until).unwrap());
        let mut reader = CosmosReader::new(&partition, pages, from, &stretch.from, until);
        let (mut found, mut to) = (Vec::new(), stretch.from.clone());
        while found.len() < most {
            let limit = BatchLimit { documents: most - found.len(), bytes: 1 << 20, max_document: 1 << 20 };
            let Next::Batch(batch) = reader.next(limit).await.unwrap() else { break };
            for index in 0..batch.documents.len() {
                let place = batch.documents.get(0, index).at;
                assert!(to.at <= place && place < batch.to.at, "places are in order");
                to.at = place + 1;
                found.push(std::str::from_utf8(batch.documents.bytes(index)).unwrap().parse().unwrap());
            }
            to = batch.to;
        }
        (found, to)
    }

    fn on(from: &Position) -> Stretch {
        Stretch { from: from.clone(), until: None }
    }

    const SIZES: [&[usize]; 6] = [&[10], &[4], &[3, 0, 5], &[1], &[1, 0, 2], &[7]];

    #[tokio::test]
    async fn pages_of_other_sizes_lead_to_the_same_documents() {
        let all: Vec<u64> = (0..10).collect();
        for (first, second) in SIZES.iter().flat_map(|first| SIZES.map(|second| (*first, second))) {
            for stop in 0..=10 {
                let (mut found, reached) = read(&all, first, &on(&Position::default()), stop).await;
                assert_eq!((reached.at, reached.ordinal), (stop as u64 * STEP, stop as u64));
                // Twice, so that a position inside a page that was cut in another way is gone on from too.
                let (more, reached) = read(&all, second, &on(&reached), 2).await;
                found.extend(more);
                let (more, reached) = read(&all, first, &on(&reached), 99).await;
                found.extend(more);
                assert_eq!(found, all, "{first:?}, from {stop} on {second:?}");
                assert_eq!(reached.at, 10 * STEP);
            }
        }
    }

    /// Every set of documents that are gone when a page is asked for again.
    #[tokio::test]
    async fn what_was_not_read_is_read_whatever_was_deleted() {
        let all: Vec<u64> = (0..9).collect();
        for (first, second) in SIZES.iter().flat_map(|first| SIZES.map(|second| (*first, second))) {
            for stop in [0, 1, 3, 6] {
                let (_, reached) = read(&all, first, &on(&Position::default()), stop).await;
                for kept in 0..1 << all.len() {
                    let left: Vec<u64> =
                        all.iter().copied().filter(|number| kept >> number & 1 == 1).collect();
                    let (found, _) = read(&left, second, &on(&reached), 99).await;
                    let unread = left.iter().filter(|number| **number >= stop as u64).count();
                    assert!(
                        left.ends_with(&found) && found.len() >= unread,
                        "{left:?} from {stop}: {found:?}"
                    );
                    // Only where none of the last is left is anything read twice.
                    let knows =
                        stop == 0 || (stop.saturating_sub(MARKS)..stop).any(|mark| kept >> mark & 1 == 1);
                    let twice = found.iter().filter(|number| **number < stop as u64).count();
                    let behind = (0..stop).rev().take_while(|number| kept >> number & 1 == 0).count();
                    assert!(!knows || twice == 0, "{left:?} from {stop}, {behind} gone: {found:?}");
                }
            }
        }
    }

    /// A finished stretch begins where another ends: what came and went in between moves neither.
    #[tokio::test]
    async fn a_stretch_ends_behind_its_last_document() {
        // Even numbers are there, odd ones come.
        let old: Vec<u64> = (0..10).map(|number| 2 * number).collect();
        for (first, second) in SIZES.iter().flat_map(|first| SIZES.map(|second| (*first, second))) {
            let (_, from) = read(&old, first, &on(&Position::default()), 2).await;
            let (_, until) = read(&old, first, &on(&from), 5).await;
            let stretch = Stretch { from, until: Some(until.clone()) };
            let (found, reached) = read(&old, second, &stretch, 99).await;
            assert_eq!((found.as_slice(), reached.at), (&old[2..7], until.at));
            let is_between = |number: &u64| (4..=12).contains(number);
            let now: Vec<u64> = (0..20).filter(|number| number % 4 != 2).collect();
            let (found, reached) = read(&now, second, &stretch, 99).await;
            let expected: Vec<u64> = now.iter().copied().filter(is_between).collect();
            // What comes right behind the last that was read is read too.
            assert_eq!(found.iter().copied().filter(is_between).collect::<Vec<_>>(), expected);
            assert_eq!((reached.at, found.last()), (until.at, Some(&12)));
            // Without the last document nobody knows where the end is, and all is read.
            let now: Vec<u64> = (0..20).filter(|number| *number != 12).collect();
            let (found, reached) = read(&now, second, &stretch, 99).await;
            assert!(found.ends_with(&[10, 11, 13, 14, 15, 16, 17, 18, 19]), "{found:?}");
            assert!(reached.at < until.at, "{reached:?}");
        }
    }
}
