//! What turns the knobs of a simulated run: docferry's own tuner, or one of its rivals.

use crate::model::knobs::Knobs;
use crate::model::sample::Sample;

/// An answer to a request, as a controller sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response {
    /// Time since the run began.
    pub(super) now: f64,
    /// Which partition answered.
    pub(super) partition: usize,
    /// From sending to this answer.
    pub(super) latency: f64,
    /// Some of it was throttled.
    pub(super) throttled: bool,
    /// How long the target asks to wait.
    pub(super) retry_after: f64,
    /// Documents sent.
    pub(super) documents: u32,
    /// Requests still in flight.
    pub(super) in_flight: usize,
}

/// Turns knobs.
pub(super) trait Controller {
    /// Sets the first knobs; `partitions` is the number of the target's.
    fn begin(&mut self, _knobs: &mut Knobs, _partitions: usize) {}

    /// Seconds from one tick to the next.
    fn interval(&self) -> f64 {
        1.0
    }

    /// The pacing of production decides what is sent, lane by lane; else requests leave in the order in which they were made, and one that is
    /// throttled waits in its place, as in a client that retries.
    fn is_paced(&self) -> bool {
        false
    }

    /// Credits are a knob of their own; else there are as many as pools and batches of these sizes can hold.
    fn sets_credits(&self) -> bool {
        false
    }

    /// Documents in a request for this partition, at most; the target's own limit holds as well.
    fn request_documents(&mut self, _partition: usize) -> u32 {
        u32::MAX
    }

    /// What has happened since the last tick.
    fn tick(&mut self, _sample: &Sample, _knobs: &mut Knobs) {}

    /// A request was answered.
    fn answered(&mut self, _response: &Response, _knobs: &mut Knobs) {}

    /// Whether a request for this partition may be sent now; else when to ask again, which is never if only an answer can change that.
    fn may_send(&mut self, _now: f64, _partition: usize, _in_flight: usize) -> Result<(), f64> {
        Ok(())
    }
}
