//! The container as a source: every document of every physical partition, page by page.
//!
//! A position counts the documents before it, and holds what the service needs to go on: the continuation token of the page that comes next, or
//! of the one that is being read and how far. The service returns a partition's documents in one order as long as nobody writes to it.
//! How many of them a page holds is its own affair: a page that is asked for again may be shorter, so what was passed may end in a later one.
//! When a physical partition is divided between two runs, the list of partitions is another one, and a resume is refused.

use crate::connector::cosmos::Place;
use crate::connector::cosmos::client::{Client, Container, Pages, Range};
use crate::connector::source::{Reader, Source, SourceCapabilities};
use crate::error::{Error, ErrorKind, Result};
use crate::model::BoxFuture;
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::partition::{Partition, PartitionId, Position, Stretch};
use crate::model::reject::{Reject, RejectedBy};
use crate::model::units::{Bytes, Counted};
use tokio::sync::OnceCell;
use xxhash_rust::xxh3::xxh3_64;

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
            let resume =
                Resume::read(stretch.from.token.as_deref()).ok_or_else(|| lost("a damaged position"))?;
            let pages = match &resume {
                Resume::End => None,
                Resume::Page { token, .. } => {
                    Some(self.container().await?.pages(range, token.as_deref(), None).await?)
                }
            };
            Ok(Box::new(CosmosReader::new(partition, pages, resume, &stretch)) as _)
        })
    }

    fn is_target(&self, place: &str, identity: &str) -> bool {
        // An account has an address in each region, so the same container may be at another place.
        let is_elsewhere = || self.container.get().is_some_and(|own| own.identity() == identity);
        place == self.place.name() || !self.place.account.is_on_this_machine() && is_elsewhere()
    }

    fn locate(&self, partition: &Partition, at: u64, _ordinal: u64) -> String {
        format!("{}, range {}, document {at}", self.place.name(), partition.id)
    }

    fn position_id(&self, partition: &Partition, at: u64, out: &mut String) {
        // Ranges are named by hexadecimal digits.
        *out = format!("{}@{at}", partition.id);
    }
}

/// Where to go on: what a position's token says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resume {
    /// `token` leads to the page, of which so many documents have been passed.
    Page {
        token: Option<String>,
        passed: usize,
    },
    End,
}

impl Resume {
    const END: &str = "end";

    fn read(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(Resume::Page { token: None, passed: 0 }),
            Some(Self::END) => Some(Resume::End),
            Some(text) => {
                let (passed, token) = text.split_once(' ')?;
                let token = Some(token).filter(|token| !token.is_empty()).map(str::to_owned);
                Some(Resume::Page { token, passed: passed.parse().ok()? })
            }
        }
    }

    fn write(&self) -> String {
        match self {
            Resume::End => Self::END.to_owned(),
            Resume::Page { token, passed } => format!("{passed} {}", token.as_deref().unwrap_or_default()),
        }
    }

    fn passed(&self) -> usize {
        match self {
            Resume::Page { passed, .. } => *passed,
            Resume::End => 0,
        }
    }

    /// The same place, told from the end of a page of so many documents, to which `token` leads.
    fn behind(&self, documents: usize, token: String) -> Self {
        Resume::Page { token: Some(token), passed: self.passed().saturating_sub(documents) }
    }
}

/// What a reader reads: pages, one after the other.
trait Paged: Send {
    /// The documents of the next page; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<Vec<u8>>>>> + Send;

    /// What leads to the page behind the last one.
    fn token(&self) -> Result<String>;
}

impl Paged for Pages {
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<Vec<u8>>>>> + Send {
        Pages::next(self)
    }

    fn token(&self) -> Result<String> {
        Pages::token(self)
    }
}

struct CosmosReader<P> {
    partition: String,
    /// `None` behind the last page.
    pages: Option<P>,
    /// Where a reader that is opened now would go on.
    resume: Resume,
    /// The page that is being read, `None` before the first, and how many of its documents are taken.
    page: Option<Vec<Vec<u8>>>,
    taken: usize,
    at: u64,
    until: u64,
}

impl<P: Paged> CosmosReader<P> {
    fn new(partition: &Partition, pages: Option<P>, resume: Resume, stretch: &Stretch) -> Self {
        Self {
            partition: partition.id.0.clone(),
            pages,
            resume,
            page: None,
            taken: 0,
            at: stretch.from.at,
            until: stretch.until.as_ref().map_or(u64::MAX, |until| until.at),
        }
    }

    /// Whether the page has no document left.
    fn is_read(&self) -> bool {
        self.page.as_ref().is_none_or(|page| self.taken == page.len())
    }

    /// Sees to it that the page has a document left; false at the end.
    async fn turn(&mut self) -> Result<bool> {
        while self.is_read() {
            let Some(pages) = &mut self.pages else { return Ok(false) };
            // Of the first page it is known where it begins; the others begin where the one before ended.
            if let Some(page) = self.page.take() {
                self.resume = self.resume.behind(page.len(), pages.token()?);
            }
            let Some(page) = pages.next().await? else {
                (self.pages, self.resume) = (None, Resume::End);
                return Ok(false);
            };
            self.taken = self.resume.passed().min(page.len());
            self.page = Some(page);
        }
        Ok(true)
    }

    async fn read(&mut self, limit: BatchLimit) -> Result<Next> {
        let (mut batch, from) = (Batch::default(), self.at);
        // Spans hold 32-bit offsets.
        let bytes = limit.bytes.min(u32::MAX as usize);
        // A batch ends with its page: behind it another request begins.
        while self.at < self.until && self.at - from < limit.documents.max(1) as u64 {
            if self.at > from && self.is_read() {
                break;
            }
            if !self.turn().await? {
                break;
            }
            let Some(document) = self.page.as_ref().and_then(|page| page.get(self.taken)) else { break };
            let ordinal = (self.at - from) as u32;
            if document.len() > limit.max_document {
                batch.rejects.push(too_large(self.at, ordinal, document.len(), limit.max_document));
            } else if batch.documents.buffer.len() + document.len() <= bytes {
                batch.documents.push(document, self.at, ordinal);
            } else if self.at == from {
                return Ok(Next::Grow(document.len()));
            } else {
                break;
            }
            self.at += 1;
            self.taken += 1;
            if let Resume::Page { passed, .. } = &mut self.resume {
                *passed = self.taken;
            }
        }
        if self.at == from {
            return Ok(Next::End);
        }
        batch.documents.buffer.shrink_to_fit();
        batch.to = Position { at: self.at, ordinal: self.at, token: Some(self.resume.write()) };
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
    fn a_place_to_go_on_from_is_written_and_read() {
        let page = |token: Option<&str>, passed| Resume::Page { token: token.map(str::to_owned), passed };
        for resume in [page(None, 0), page(None, 7), page(Some("c1.a b"), 12), Resume::End] {
            assert_eq!(Resume::read(Some(&resume.write())), Some(resume));
        }
        assert_eq!(Resume::read(None), Some(page(None, 0)));
        assert_eq!(Resume::read(Some("x")), None);
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

    /// Documents 0, 1, 2 ... in pages of the given sizes, the last of which is that of all that follow. A token says what lies before a page.
    struct Sized {
        documents: usize,
        sizes: Vec<usize>,
        at: usize,
    }

    impl Paged for Sized {
        async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
            if self.at == self.documents {
                return Ok(None);
            }
            let size = if self.sizes.len() > 1 { self.sizes.remove(0) } else { self.sizes[0] };
            let from = self.at;
            self.at = self.documents.min(from + size);
            Ok(Some((from..self.at).map(|number| format!("{{\"n\":{number}}}").into_bytes()).collect()))
        }

        fn token(&self) -> Result<String> {
            Ok(self.at.to_string())
        }
    }

    /// Reads on from a position, up to so many documents.
    async fn read(from: Position, sizes: &[usize], most: usize) -> (Vec<String>, Position) {
        let resume = Resume::read(from.token.as_deref()).unwrap();
        let start = match &resume {
            Resume::Page { token, .. } => token.as_ref().map_or(0, |token| token.parse().unwrap()),
            Resume::End => 10,
        };
        let partition =
            Partition { id: PartitionId("p".to_owned()), start: from.clone(), bytes: None, documents: None };
        let (mut to, stretch) = (from.clone(), Stretch { from, until: None });
        let pages = Sized { documents: 10, sizes: sizes.to_vec(), at: start };
        let mut reader = CosmosReader::new(&partition, Some(pages), resume, &stretch);
        let mut found = Vec::new();
        while found.len() < most {
            let documents = most - found.len();
            let limit = BatchLimit { documents, bytes: 1 << 20, max_document: 1 << 20 };
            let Next::Batch(batch) = reader.next(limit).await.unwrap() else { break };
            for index in 0..batch.documents.len() {
                found.push(String::from_utf8(batch.documents.bytes(index).to_vec()).unwrap());
            }
            to = batch.to;
        }
        (found, to)
    }

    #[tokio::test]
    async fn pages_of_other_sizes_lead_to_the_same_documents() {
        let all: Vec<String> = (0..10).map(|number| format!("{{\"n\":{number}}}")).collect();
        for first in [&[10][..], &[4], &[3, 0, 5], &[0, 2]] {
            for second in [&[10][..], &[2], &[1], &[1, 0, 2], &[7]] {
                for stop in 0..=10 {
                    let (mut found, reached) = read(Position::default(), first, stop).await;
                    assert_eq!(reached.at, stop as u64);
                    // Twice, so that a position inside a page that was cut in another way is gone on from too.
                    let (more, reached) = read(reached, second, 2).await;
                    found.extend(more);
                    let (more, reached) = read(reached, first, 99).await;
                    found.extend(more);
                    assert_eq!(found, all, "{first:?}, from {stop} on {second:?}");
                    assert_eq!(reached.at, 10);
                }
            }
        }
    }
}
