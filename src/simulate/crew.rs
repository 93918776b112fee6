//! A pool of workers that get in each other's way: all of them go at one speed, which depends on how many there are (processor sharing).

use crate::model::sample::Work;

/// A piece of work under way.
#[derive(Clone, Copy, Debug)]
struct Piece {
    began: f64,
    /// Seconds that are left at full speed.
    left: f64,
    /// Seconds that it takes at full speed.
    whole: f64,
    documents: f64,
}

/// The workers of a pool.
#[derive(Debug, Default)]
pub(super) struct Crew {
    pieces: Vec<Piece>,
    /// Seconds of work done in a second.
    speed: f64,
    /// Pieces came or went since the speed was set.
    changed: bool,
    /// Told apart by this, an event that was overtaken is known.
    pub(super) version: u64,
    /// Documents in the pieces.
    pub(super) documents: f64,
    /// Since the last sample: documents of progress, seconds of workers, and what was finished.
    pub(super) progress: f64,
    pub(super) busy: f64,
    pub(super) work: Work,
    pub(super) most_documents: f64,
}

impl Crew {
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn begin(&mut self, now: f64, seconds: f64, documents: f64) {
        self.pieces.push(Piece { began: now, left: seconds, whole: seconds, documents });
        self.documents += documents;
        self.changed = true;
        self.most_documents = self.most_documents.max(self.documents);
    }

    /// Documents per second at full speed.
    pub(super) fn demand(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.documents / piece.whole).sum()
    }

    /// Lets `seconds` pass.
    pub(super) fn pass(&mut self, seconds: f64) {
        self.busy += self.pieces.len() as f64 * seconds;
        for piece in &mut self.pieces {
            piece.left -= seconds * self.speed;
            self.progress += piece.documents * seconds * self.speed / piece.whole;
        }
    }

    /// Takes what is finished, as documents of each piece.
    pub(super) fn finished(&mut self, now: f64) -> Vec<f64> {
        let mut finished = Vec::new();
        let work = &mut self.work;
        self.pieces.retain(|piece| {
            let is_done = piece.left <= 1e-7;
            if is_done {
                *work += Work::of(piece.documents, now - piece.began);
                finished.push(piece.documents);
            }
            !is_done
        });
        self.changed = true;
        self.documents -= finished.iter().sum::<f64>();
        finished
    }

    /// Sets the speed if pieces came or went; returns when the next piece is finished, unless that is known already.
    pub(super) fn set_speed(&mut self, now: f64, speed: f64) -> Option<f64> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.speed = speed;
        self.version += 1;
        let least = self.pieces.iter().map(|piece| piece.left).reduce(f64::min)?;
        Some(now + least.max(0.0) / speed + 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_half_speed_take_twice_as_long_and_progress_counts_what_is_unfinished() {
        let mut crew = Crew::default();
        crew.begin(0.0, 1.0, 100.0);
        crew.begin(0.0, 2.0, 100.0);
        let first = crew.set_speed(0.0, 0.5).unwrap();
        assert!((first - 2.0).abs() < 1e-6);
        assert_eq!(crew.set_speed(0.0, 0.5), None, "nothing came or went");
        crew.pass(2.0);
        assert_eq!(crew.finished(2.0), [100.0]);
        assert!((crew.progress - 150.0).abs() < 1e-6);
        assert!((crew.busy - 4.0).abs() < 1e-9);
        let second = crew.set_speed(2.0, 1.0).unwrap();
        assert!((second - 3.0).abs() < 1e-6, "alone it goes at full speed: {second}");
        crew.pass(1.0);
        assert_eq!(crew.finished(3.0), [100.0]);
        assert_eq!((crew.len(), crew.documents), (0, 0.0));
    }
}
