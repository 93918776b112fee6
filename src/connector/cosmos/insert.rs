//! Inserts that find their place taken: by an equal document, which an earlier try has left, or by another one.
//!
//! What the container holds there is read and compared. A run that is resumed inserts all that it sends again in vain, so the places of one
//! request are read in one request, where the endpoint knows such; what that leaves open is read document by document.

use crate::connector::cosmos::answer::{Reply, WRITING, answers, charge, is_of_the_document, refusal};
use crate::connector::cosmos::bulk;
use crate::connector::cosmos::lane::{POINTS_AT_ONCE, Sending, joined};
use crate::error::{Error, ErrorKind, Result};
use std::mem;
use std::sync::Arc;
use tokio::task::JoinSet;

impl Sending<'_> {
    /// Decides about the documents that found their place taken.
    pub(super) async fn settle_taken(&mut self) -> Result<()> {
        let taken = mem::take(&mut self.taken);
        let unread = self.read_together(taken).await?;
        for some in unread.chunks(POINTS_AT_ONCE) {
            let mut tasks: JoinSet<_> = some.iter().map(|index| self.held(*index)).collect();
            while let Some(done) = tasks.join_next().await {
                let (index, reply) = joined(done)?;
                self.sent.requests += 1;
                let compared = reply.and_then(|reply| {
                    self.outcome.request_units += reply.request_units;
                    self.compare(index, reply)
                });
                if let Err(error) = compared {
                    self.failed(index, &error);
                }
            }
        }
        for index in mem::take(&mut self.vanished) {
            self.insert_again(index).await;
        }
        Ok(())
    }

    /// Reads what the container holds in the places of these documents, in one request. Returns those for which that did not tell.
    async fn read_together(&mut self, taken: Vec<usize>) -> Result<Vec<usize>> {
        if taken.len() < 2 || !self.lane.open.bulk.is_proven() {
            return Ok(taken);
        }
        let body = bulk::reads(taken.iter().map(|index| &self.items[*index]))?;
        let reply = self.lane.state.door.send(body).await;
        self.sent.requests += 1;
        let told = if reply.is_success() { answers(&reply.body, taken.len()) } else { None };
        let Some(told) = told else {
            if matches!(reply.status, 200..300 | 400 | 404 | 405 | 413) {
                // It knows no such request, or they are too much for one answer.
                return Ok(taken);
            }
            self.whole(taken.into_iter(), reply).await?;
            return Ok(Vec::new());
        };
        self.outcome.request_units += charge(&reply, &told).0;
        let (mut unread, mut is_throttled) = (Vec::new(), false);
        for (index, answer) in taken.into_iter().zip(told) {
            if is_throttled && matches!(answer.status_code, 200 | 404) {
                self.stray();
            }
            match (answer.status_code, answer.resource_body) {
                (200, Some(held)) => self.compare_with(index, held),
                (404, _) => self.vanished.push(index),
                // Too much for one answer, or not understood.
                (200 | 400 | 413, _) => unread.push(index),
                (429, _) => {
                    is_throttled = true;
                    self.throttled(1, answer.wait());
                    self.put_off([index]);
                }
                _ => self.failed(index, &refusal(&answer)),
            }
        }
        self.sent.throttled += u32::from(is_throttled);
        Ok(unread)
    }

    /// Reads what the container holds in the document's place.
    fn held(&self, index: usize) -> impl Future<Output = (usize, Result<Reply>)> + Send + 'static {
        let (open, item) = (Arc::clone(&self.lane.open), &self.items[index]);
        let (key, id) = (bulk::owned(&item.key.clone().into_partition_key()), item.id());
        async move {
            match id {
                Ok(id) => (index, open.container.read(&key, id).await),
                Err(error) => (index, Err(error)),
            }
        }
    }

    /// An insert found its place taken, and this is what was read there.
    fn compare(&mut self, index: usize, reply: Reply) -> Result<()> {
        match reply.status {
            200 => self.compare_with(index, &reply.body),
            404 => self.vanished.push(index),
            _ => return Err(reply.into_error(WRITING)),
        }
        Ok(())
    }

    /// The place of a document holds an equal one, which an earlier try has left, or another one.
    fn compare_with(&mut self, index: usize, held: &[u8]) {
        if !self.lane.open.is_equal(self.items[index].bytes, held) {
            let reason = "already there: the container holds another document with this key and id";
            self.outcome.rejected.push((index as u32, reason.to_owned()));
        }
    }

    /// An insert was refused though its place seems free: what was there has been removed since, a document in another place holds a value that must
    /// be unique, or a replica lags that was read from. Trying again tells the first, and the service's words the second.
    async fn insert_again(&mut self, index: usize) {
        self.sent.requests += 1;
        let reply = match self.point(index).await {
            (_, Ok(reply)) if is_of_the_document(&reply) => reply,
            (_, reply) => {
                let error = reply.map_or_else(|error| error, |reply| reply.into_error(WRITING));
                return self.failed(index, &error);
            }
        };
        let innocent = self.apply(&(index..index + 1), &reply, &[reply.as_answer()]);
        self.unasked(innocent);
        for (index, error) in mem::take(&mut self.gone) {
            self.failed(index, &error);
        }
        if self.taken.pop().is_some() {
            let message = reply.message();
            if message.to_ascii_lowercase().contains("unique") {
                self.outcome.rejected.push((index as u32, format!("refused by Cosmos (409): {message}")));
            } else {
                self.failed(index, &Error::new(ErrorKind::Conflict, WRITING, message));
            }
        }
    }
}
