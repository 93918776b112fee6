//! Which lane takes which place of the partition key space, also while physical partitions are divided.
//!
//! A lane is a physical partition. When it is divided, it closes for good and its children are new lanes behind all others; so a lane's number never
//! changes its meaning. A document's lane is found by a binary search among the open lanes' ranges, which lie side by side.
//!
//! A list of partitions is asked of any replica, and one may be behind the others. A list from before a division, or one with a gap, would leave
//! keys without a lane, or with a wrong one, for good; it is refused, and whoever has asked asks again.

use crate::connector::cosmos::client::Range;
use crate::error::{Error, ErrorKind, Result};
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
    /// Takes over what there is now. Returns the partitions that became lanes, in the order of their lanes. What cannot be so is refused, and
    /// changes nothing.
    pub(super) fn update(&mut self, ranges: &[Range]) -> Result<Vec<Added>> {
        self.must_be_possible(ranges)?;
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
        Ok(added)
    }

    fn must_be_possible(&self, ranges: &[Range]) -> Result<()> {
        let refuse = |what: &str, range: Option<&Range>| {
            let error = Error::new(ErrorKind::Unavailable, "reading the container's partitions", what);
            Err(match range {
                Some(range) => error.with("range", &range.id),
                None => error,
            })
        };
        let is_closed = |range: &&Range| self.ids.iter().any(|(id, is_open)| !is_open && *id == range.id);
        if let Some(stale) = ranges.iter().find(is_closed) {
            return refuse("the list names a physical partition that was divided before", Some(stale));
        }
        let mut in_order: Vec<&Range> = ranges.iter().collect();
        in_order.sort_unstable_by(|one, other| one.min.cmp(&other.min));
        let mut reached = Epk::default();
        for range in in_order {
            if range.min != reached || range.max <= range.min {
                return refuse("the list has a gap or an overlap", Some(range));
            }
            reached = range.max.clone();
        }
        // The highest place of all, in every kind of container.
        if reached.as_bytes() != [0xff] { refuse("the list does not reach to the end", None) } else { Ok(()) }
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
            lanes
                .update(ranges)
                .unwrap()
                .into_iter()
                .map(|added| (added.id, added.parent))
                .collect::<Vec<_>>()
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

    #[test]
    fn a_list_that_cannot_be_is_refused_and_changes_nothing() {
        let before = [range("0", "", "1F"), range("1", "1F", "FF")];
        let after = [range("2", "", "0F"), range("3", "0F", "1F"), range("1", "1F", "FF")];
        let mut lanes = Lanes::default();
        lanes.update(&before).unwrap();
        lanes.update(&after).unwrap();
        let impossible = [
            (before.to_vec(), "was divided before"),
            (vec![], "does not reach to the end"),
            (after[..2].to_vec(), "does not reach to the end"),
            (after[1..].to_vec(), "a gap or an overlap"),
            (vec![after[0].clone(), after[2].clone()], "a gap or an overlap"),
            (vec![range("4", "", "1F"), after[1].clone(), after[2].clone()], "a gap or an overlap"),
            (vec![range("4", "", ""), range("5", "", "FF")], "a gap or an overlap"),
        ];
        for (ranges, what) in impossible {
            let refused = lanes.update(&ranges).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable);
            assert!(refused.to_string().contains(what), "{refused}");
            assert_eq!([0, 1, 2, 3, 4].map(|lane| lanes.is_open(lane)), [false, true, true, true, false]);
            assert_eq!(
                ["", "0F", "1F", "FE"].map(|hex| lanes.lane(&Epk::from_hex(hex).unwrap())),
                [2, 3, 1, 1]
            );
        }
        assert_eq!(lanes.update(&after).unwrap(), [], "a list in order is taken again");
        assert!(Lanes::default().update(&[]).is_err());
    }
}
