//! The container as a source: every document of every physical partition, page by page.
//!
//! A position counts the documents before it, and holds what the service needs to go on: the continuation token of the page that comes next, or
//! of the one that is being read and how far. The service returns a partition's documents in one order as long as nobody writes to it.
//! When a physical partition is divided between two runs, the list of partitions is another one, and a resume is refused.

use crate::connector::cosmos::client::{Client, Container, Pages, Range};
use crate::connector::cosmos::{Place, system};
use crate::connector::source::{Reader, Source, SourceCapabilities};
use crate::error::{Error, ErrorKind, Result};
use crate::model::BoxFuture;
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::json::Index;
use crate::model::partition::{Partition, PartitionId, Position, Stretch};
use crate::model::reject::{Reject, RejectedBy};
use crate::model::units::{Bytes, Counted};
use tokio::sync::OnceCell;

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

impl Source for CosmosSource {
    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resumable: true, ordered: false }
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let container = self.container().await?;
            let partitions = Counted(self.ranges().await?.len() as u64, "physical partition");
            Ok(vec![format!("{}: {partitions}", container.identity())])
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
            Ok(Box::new(CosmosReader {
                partition: partition.id.0.clone(),
                pages,
                resume,
                page: Vec::new(),
                taken: 0,
                at: stretch.from.at,
                until: stretch.until.map_or(u64::MAX, |until| until.at),
                found: Index::default(),
                held: Vec::new(),
            }) as _)
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
}

struct CosmosReader {
    partition: String,
    /// `None` behind the last page.
    pages: Option<Pages>,
    /// Where a reader that is opened now would go on.
    resume: Resume,
    /// The page that is being read, and how many of its documents are taken.
    page: Vec<Vec<u8>>,
    taken: usize,
    at: u64,
    until: u64,
    found: Index,
    held: Vec<u8>,
}

impl CosmosReader {
    /// Sees to it that the page has a document left; false at the end.
    async fn turn(&mut self) -> Result<bool> {
        while self.taken == self.page.len() {
            let Some(pages) = &mut self.pages else { return Ok(false) };
            // Of the first page it is known where it begins; the others begin where the one before ended.
            if !self.page.is_empty() {
                self.resume = Resume::Page { token: Some(pages.token()?), passed: 0 };
            }
            let Some(page) = pages.next().await? else {
                (self.pages, self.resume) = (None, Resume::End);
                return Ok(false);
            };
            let passed = match &self.resume {
                Resume::Page { passed, .. } => *passed,
                Resume::End => 0,
            };
            self.taken = passed.min(page.len());
            self.page = page;
            if self.page.is_empty() {
                // Pages may be empty; the next begins behind it.
                if let Some(pages) = &self.pages {
                    self.resume = Resume::Page { token: Some(pages.token()?), passed };
                }
            }
        }
        Ok(true)
    }

    async fn read(&mut self, limit: BatchLimit) -> Result<Next> {
        let (mut batch, from) = (Batch::default(), self.at);
        // Spans hold 32-bit offsets.
        let bytes = limit.bytes.min(u32::MAX as usize);
        // A batch ends with its page: behind it another request begins.
        while self.at < self.until && self.at - from < limit.documents.max(1) as u64 {
            if self.at > from && self.taken == self.page.len() {
                break;
            }
            if !self.turn().await? {
                break;
            }
            self.held.clear();
            system::write_without(&self.page[self.taken], &mut self.found, &mut self.held);
            let ordinal = (self.at - from) as u32;
            if self.held.len() > limit.max_document {
                batch.rejects.push(too_large(self.at, ordinal, self.held.len(), limit.max_document));
            } else if batch.documents.buffer.len() + self.held.len() <= bytes {
                batch.documents.push(&self.held, self.at, ordinal);
            } else if self.at == from {
                return Ok(Next::Grow(self.held.len()));
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

impl Reader for CosmosReader {
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

    #[test]
    fn a_place_to_go_on_from_is_written_and_read() {
        let page = |token: Option<&str>, passed| Resume::Page { token: token.map(str::to_owned), passed };
        for resume in [page(None, 0), page(None, 7), page(Some("c1.a b"), 12), Resume::End] {
            assert_eq!(Resume::read(Some(&resume.write())), Some(resume));
        }
        assert_eq!(Resume::read(None), Some(page(None, 0)));
        assert_eq!(Resume::read(Some("x")), None);
    }
}
