//! Where documents go: the sink's lanes, each with its queue, also when lanes close and others take over.
//!
//! The sink names a lane for each document while the document is transformed. It may close a lane at any moment; the lane's keys then go to
//! lanes that did not exist before. The pipeline learns of it in one of two ways: a request is answered *lane closed*, or a
//! document is routed to a lane that nobody knows yet. Then every document that waits in a queue is routed again, old
//! lanes before new ones. A key only ever moves to a newer lane, so its documents keep their order in the queues.
//!
//! A document under way stays where it is: until it has met its end it owns its (key, id), whatever lane a later one is in. So nothing waits
//! for the requests of a closed lane, and no lane for another. That needs owners, which a serial lane does not have: the lanes of a serial
//! sink may not change.
//!
//! A batch that was routed while fewer lanes were known is routed again when it is queued.

use crate::connector::{Lane, Order, Sink, SinkCapabilities};
use crate::error::{Error, Result};
use crate::model::request::LaneId;
use crate::pipeline::chunk::{Again, Chunk, Flight, Piece};
use crate::pipeline::lane_queue::Cut;
use crate::pipeline::lanes::{Displaced, Lanes};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// The sink's lanes and their queues.
pub(crate) struct Routing {
    sink: Arc<dyn Sink>,
    capabilities: SinkCapabilities,
    lanes: RwLock<Vec<Arc<dyn Lane>>>,
    queues: Mutex<Lanes>,
}

impl Routing {
    /// The lanes of a prepared sink.
    pub(crate) fn new(sink: Arc<dyn Sink>, request_documents: usize) -> Self {
        let (lanes, capabilities) = (sink.lanes(), sink.capabilities());
        let cut = Cut {
            documents: request_documents.min(capabilities.request_documents),
            bytes: capabilities.request_bytes,
            serial: capabilities.serial,
            keyed: capabilities.needs_identities(),
            whole_chunks: capabilities.marked,
        };
        let queues = Mutex::new(Lanes::new(lanes.len(), cut));
        Self { sink, capabilities, lanes: RwLock::new(lanes), queues }
    }

    /// The queues, locked.
    pub(crate) fn queues(&self) -> MutexGuard<'_, Lanes> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane of that number.
    pub(crate) fn lane(&self, lane: LaneId) -> Arc<dyn Lane> {
        Arc::clone(&self.lanes.read().unwrap_or_else(PoisonError::into_inner)[lane as usize])
    }

    /// Cuts the next request; see [`Lanes::cut`].
    pub(crate) fn cut(&self, limit: usize) -> Result<Flight, Option<Instant>> {
        let mut queues = self.queues();
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        queues.cut(limit, &lanes, Instant::now())
    }

    /// Several lanes, or documents whose (key, id) must be told apart: the sink is asked for each document.
    pub(crate) fn is_needed(&self) -> bool {
        self.known().0
    }

    /// Whether the sink is asked for each document, and how many lanes are known: of one moment, because what was not asked for while a second
    /// lane appeared would count as routed among two.
    pub(crate) fn known(&self) -> (bool, usize) {
        let lanes = self.queues().len();
        (self.capabilities.needs_identities() || lanes > 1, lanes)
    }

    /// Queues the chunks of a batch, which was routed when `known_lanes` were known. Called in source order.
    pub(crate) fn enter(&self, chunks: Vec<(LaneId, Chunk)>, known_lanes: usize) -> Result<()> {
        let mut queues = self.queues();
        let is_known = chunks.iter().all(|(lane, _)| (*lane as usize) < queues.len());
        let mut has_grown = !is_known && self.refresh(&mut queues)?;
        let is_stale = !is_known || known_lanes != queues.len();
        for (lane, chunk) in chunks {
            let piece = Piece::whole(Arc::new(chunk));
            match is_stale {
                true => has_grown |= self.place(&mut queues, &piece, false)?,
                false => queues.push(lane, piece),
            }
        }
        self.place_displaced(&mut queues, has_grown)
    }

    /// Whether documents need no order but that of equal ones.
    pub(crate) fn is_unordered(&self) -> bool {
        self.capabilities.order == Order::None
    }

    /// A request has come back; see [`Lanes::landed`].
    pub(crate) fn landed(
        &self,
        lane: LaneId,
        done: &[Piece],
        again: impl IntoIterator<Item = Again>,
        gate: Option<Duration>,
    ) -> Result<()> {
        let mut queues = self.queues();
        queues.landed(lane, done, again, gate, Instant::now());
        self.place_displaced(&mut queues, false)
    }

    /// A request has failed; see [`Lanes::failed`].
    pub(crate) fn failed(&self, lane: LaneId, again: Again) -> Result<()> {
        let mut queues = self.queues();
        queues.failed(lane, again, Instant::now());
        self.place_displaced(&mut queues, false)
    }

    /// A request has found its lane closed.
    pub(crate) fn closed(&self, flight: Flight) -> Result<()> {
        let mut queues = self.queues();
        queues.close(flight);
        let has_grown = self.refresh(&mut queues)?;
        self.place_displaced(&mut queues, has_grown)
    }

    /// Takes the sink's lanes anew. True: there are more.
    fn refresh(&self, queues: &mut Lanes) -> Result<bool> {
        let lanes = self.sink.lanes();
        let has_grown = queues.grow(lanes.len());
        // One that has nothing to send would never be told, and looks hungry for ever.
        let closed = (0..).zip(&lanes).filter(|(_, lane)| lane.is_closed());
        closed.for_each(|(id, _)| queues.mark_closed(id));
        *self.lanes.write().unwrap_or_else(PoisonError::into_inner) = lanes;
        if has_grown && self.capabilities.serial {
            return Err(Error::internal(
                "routing",
                "the lanes of a serial sink changed while it was written",
            ));
        }
        Ok(has_grown)
    }

    /// Routes again what has lost its place, until no more lanes are found on the way.
    fn place_displaced(&self, queues: &mut Lanes, mut has_grown: bool) -> Result<()> {
        loop {
            let Displaced { owning, fresh } = queues.take_displaced(has_grown);
            if owning.is_empty() && fresh.is_empty() {
                return Ok(());
            }
            has_grown = false;
            for piece in owning {
                has_grown |= self.place(queues, &piece, true)?;
            }
            for piece in fresh {
                has_grown |= self.place(queues, &piece, false)?;
            }
        }
    }

    /// Queues documents where the sink says now; `owning`: they own their (key, id). True: a lane was found that was not known.
    fn place(&self, queues: &mut Lanes, piece: &Piece, owning: bool) -> Result<bool> {
        let mut has_grown = false;
        for index in piece.range.clone() {
            let lane = self.lane_of(queues, piece, index, &mut has_grown)?;
            match owning {
                true => queues.line_up(lane, piece.single(index)),
                false => queues.push(lane, piece.single(index)),
            }
        }
        Ok(has_grown)
    }

    /// The lane that the sink names now, which must be open.
    fn lane_of(&self, queues: &mut Lanes, piece: &Piece, index: u32, has_grown: &mut bool) -> Result<LaneId> {
        let document = piece.chunk.documents.get(piece.chunk.partition, index as usize);
        let lane = self.sink.route(&document).map(|route| route.lane).map_err(|reason| {
            Error::internal("routing", format!("a document lost its lane when lanes changed: {reason}"))
        })?;
        if lane as usize >= queues.len() {
            *has_grown |= self.refresh(queues)?;
        }
        match queues.is_open(lane) {
            true => Ok(lane),
            false => {
                Err(Error::internal("routing", "a document was routed to a lane that is closed or not there")
                    .with("lane", lane))
            }
        }
    }
}
