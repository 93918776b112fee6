//! Which lane takes which place of the partition key space, also while physical partitions are divided.
//!
//! A lane is a physical partition. When it is divided, it closes for good and its children are new lanes behind all others; so a lane's number never
//! changes its meaning. A document's lane is found by a binary search among the open lanes' ranges, which lie side by side.

use crate::connector::cosmos::client::Range;
use crate::model::partition_key::Epk;
use crate::model::request::LaneId;

/// The physical partitions that there were and are.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// By lane: the partition's id, and whether it is open.
    ids: Vec<(String, bool)>,
    /// Where the range of each open lane begins, in order.
    starts: Vec<(Epk, LaneId)>,
}

/// A physical partition that became a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) id: String,
    /// The lane that was divided; none of the first lanes.
    pub(super) parent: Option<LaneId>,
}

impl Lanes {
    /// Takes over what there is now. Returns the partitions that became lanes, in the order of their lanes.
    pub(super) fn update(&mut self, ranges: &[Range]) -> Vec<Added> {
        let known = self.ids.len();
        let parent = |range: &Range| (known > 0).then(|| self.lane(&range.min));
        let is_new = |range: &&Range| !self.ids.iter().any(|(id, _)| *id == range.id);
        let mut added: Vec<(Epk, Added)> = ranges
            .iter()
            .filter(is_new)
            .map(|range| (range.min.clone(), Added { id: range.id.clone(), parent: parent(range) }))
            .collect();
        // In the order of the key space: the children of one parent lie side by side.
        added.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let added: Vec<Added> = added.into_iter().map(|(_, added)| added).collect();
        for (id, is_open) in &mut self.ids {
            // A partition that was divided never comes back.
            *is_open &= ranges.iter().any(|range| range.id == *id);
        }
        self.ids.extend(added.iter().map(|added| (added.id.clone(), true)));
        let open = |range: &Range| {
            let lane = self.ids.iter().position(|(id, is_open)| *is_open && *id == range.id)?;
            Some((range.min.clone(), lane as LaneId))
        };
        self.starts = ranges.iter().filter_map(open).collect();
        self.starts.sort_unstable();
        added
    }

    /// The open lane in whose range the place lies.
    pub(super) fn lane(&self, place: &Epk) -> LaneId {
        let behind = self.starts.partition_point(|(start, _)| start <= place);
        // The first range begins at the lowest place of all.
        self.starts.get(behind.saturating_sub(1)).map_or(0, |(_, lane)| *lane)
    }

    /// Whether the lane takes requests.
    pub(super) fn is_open(&self, lane: LaneId) -> bool {
        self.ids.get(lane as usize).is_some_and(|(_, is_open)| *is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(id: &str, min: &str, max: &str) -> Range {
        let place = |hex| Epk::from_hex(hex).unwrap();
        Range { id: id.to_owned(), min: place(min), max: place(max) }
    }

    #[test]
    fn a_divided_lane_closes_and_its_children_come_behind_all_others() {
        let mut lanes = Lanes::default();
        let update = |lanes: &mut Lanes, ranges: &[Range]| {
            lanes.update(ranges).into_iter().map(|added| (added.id, added.parent)).collect::<Vec<_>>()
        };
        let added = |id: &str, parent| (id.to_owned(), parent);
        let first = update(&mut lanes, &[range("0", "", "1F"), range("1", "1F", "FF")]);
        assert_eq!(first, [added("0", None), added("1", None)]);
        let at = |lanes: &Lanes, hex| lanes.lane(&Epk::from_hex(hex).unwrap());
        assert_eq!([at(&lanes, ""), at(&lanes, "1EFF"), at(&lanes, "1F"), at(&lanes, "3FAA")], [0, 0, 1, 1]);

        let divided = [range("2", "", "0F"), range("3", "0F", "1F"), range("1", "1F", "FF")];
        assert_eq!(update(&mut lanes, &divided), [added("2", Some(0)), added("3", Some(0))]);
        assert_eq!([at(&lanes, ""), at(&lanes, "1EFF"), at(&lanes, "1F")], [2, 3, 1]);
        assert_eq!([0, 1, 2, 3, 4].map(|lane| lanes.is_open(lane)), [false, true, true, true, false]);

        assert_eq!(update(&mut lanes, &divided), [], "nothing new");
        let last =
            update(&mut lanes, &[range("3", "0F", "1F"), range("4", "1F", "FF"), range("2", "", "0F")]);
        assert_eq!(last, [added("4", Some(1))]);
        assert_eq!([at(&lanes, "10"), at(&lanes, "20")], [3, 4]);
    }
}
