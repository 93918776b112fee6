//! The universal scalability law: throughput over workers, n / X = (1 + s (n - 1) + k n (n - 1)) / l, and the number of workers where it is highest.
//!
//! Gunther, Guerrilla Capacity Planning, 2007. Least squares in the three parameters, relative errors weighted alike.

/// Points that are fitted: the latest.
const POINTS: usize = 8;

/// The best number of workers, where the points have a knee at all.
pub(super) fn knee(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 {
        return None;
    }
    let mut rows = [[0.0_f64; 4]; 3];
    for (workers, throughput) in &points[points.len().saturating_sub(POINTS)..] {
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

    #[test]
    fn the_knee_of_a_known_law_is_found() {
        let law = |n: f64| n / (1.0 + 0.02 * (n - 1.0) + 0.0008 * n * (n - 1.0));
        let points: Vec<_> = [4.0, 8.0, 16.0, 64.0].map(|n| (n, law(n))).to_vec();
        let knee = knee(&points).unwrap();
        assert!((knee - (0.98_f64 / 0.0008).sqrt()).abs() < 0.5, "{knee}");
    }

    #[test]
    fn what_only_rises_has_no_knee() {
        assert_eq!(knee(&[(4.0, 4.0), (8.0, 8.0)]), None, "two points");
        assert!(knee(&[(4.0, 4.0), (8.0, 8.0), (16.0, 16.0)]).is_none_or(|knee| knee > 100.0));
    }
}
