//! The rivals: other people's laws for the same knobs, as they are published, so that the tuner is compared with more than itself.

use super::controller::Controller;
use crate::model::knobs::Knobs;

/// Knobs that nobody turns.
pub(super) struct Fixed(pub(super) Knobs);

impl Controller for Fixed {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = self.0;
    }
}
