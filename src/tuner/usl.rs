//! The universal scalability law: throughput over workers, n / X = (1 + s (n - 1) + k n (n - 1)) / l, and the number of workers where it is highest.
//!
//! Gunther, Guerrilla Capacity Planning, 2007. Least squares in the three parameters, relative errors weighted alike.

use std::collections::VecDeque;

/// Points that are fitted: the latest.
const POINTS: usize = 8;

/// Numbers of workers and what they yielded, the latest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Points(VecDeque<(f64, f64)>);

impl Points {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, workers: f64, throughput: f64) {
        if self.0.len() == POINTS {
            self.0.pop_front();
        }
        self.0.push_back((workers, throughput));
    }

    /// The best number of workers, where the points have a knee at all: three parameters need three sizes.
    pub(super) fn knee(&self) -> Option<f64> {
        let mut sizes: Vec<f64> = self.0.iter().map(|point| point.0).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        (sizes.len() >= 3).then(|| knee(&self.0))?
    }
}

fn knee(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let mut rows = [[0.0_f64; 4]; 3];
    for (workers, throughput) in points {
        let terms = [1.0, workers - 1.0, workers * (workers - 1.0)];
        let cost = workers / throughput;
        let weight = 1.0 / (cost * cost);
        for row in 0..3 {
            for column in 0..3 {
                rows[row][column] += weight * terms[row] * terms[column];
            }
            rows[row][3] += weight * terms[row] * cost;
        }
    }
    let [base, contention, coherence] = solve(rows)?;
    if base <= 0.0 || coherence <= 0.0 || contention >= base {
        return None;
    }
    Some(((base - contention) / coherence).sqrt()).filter(|knee| knee.is_finite())
}

/// Gauss and Jordan, without exchange of rows: the normal equations are positive definite.
fn solve(mut rows: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for pivot in 0..3 {
        let scale = rows[pivot][pivot] * (1.0 + 1e-9);
        if scale.abs() < 1e-18 {
            return None;
        }
        rows[pivot].iter_mut().for_each(|value| *value /= scale);
        let pivot_row = rows[pivot];
        for (index, row) in rows.iter_mut().enumerate() {
            if index != pivot {
                let factor = row[pivot];
                row.iter_mut().zip(pivot_row).for_each(|(value, of_pivot)| *value -= factor * of_pivot);
            }
        }
    }
    Some([rows[0][3], rows[1][3], rows[2][3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(all: impl IntoIterator<Item = (f64, f64)>) -> Points {
        let mut points = Points::default();
        all.into_iter().for_each(|(workers, throughput)| points.add(workers, throughput));
        points
    }

    #[test]
    fn the_knee_of_a_known_law_is_found() {
        let law = |n: f64| n / (1.0 + 0.02 * (n - 1.0) + 0.0008 * n * (n - 1.0));
        let knee = points([4.0, 8.0, 16.0, 64.0].map(|n| (n, law(n)))).knee().unwrap();
        assert!((knee - (0.98_f64 / 0.0008).sqrt()).abs() < 0.5, "{knee}");
    }

    #[test]
    fn what_only_rises_has_no_knee() {
        assert_eq!(points([(4.0, 4.0), (8.0, 8.0)]).knee(), None, "two points");
        assert_eq!(points([(4.0, 4.0), (8.0, 5.0), (8.0, 5.2)]).knee(), None, "two sizes");
        let knee = points([(4.0, 4.0), (8.0, 8.0), (16.0, 16.0)]).knee();
        assert!(knee.is_none_or(|knee| knee > 100.0));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let law = |n: f64| n / (1.0 + 0.02 * (n - 1.0) + 0.0008 * n * (n - 1.0));
        let old = (0..20).map(|n| (f64::from(n + 1), 1.0));
        let new = [4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 48.0, 64.0].map(|n| (n, law(n)));
        assert_eq!(points(old.chain(new)).knee(), points(new).knee());
    }
}
