//! How sure a test is: the normal distribution, and what repeated looks at one test cost.
//!
//! A test that is looked at after every window finds "significant" what is noise more often than its level says: with six looks at 0.15 an
//! experiment in which nothing changes is called a success one time in three. So what counts is the chance that the *largest* of all looks is as large as
//! what was seen. For sums of independent windows that chance follows by recursion: the density of the sum over those paths that have stayed below the bound so far,
//! carried from one look to the next (Armitage, McPherson and Rowe, Journal of the Royal Statistical Society A 132, 1969). Looks at a ratio whose other side is
//! measured once hang together more closely than that, so this errs on the safe side; a test in this room plays ten thousand experiments in which nothing changes.

use std::sync::LazyLock;

/// Looks and deviates for which the chance is tabulated: from [`LEAST`] on in steps.
const LOOKS: usize = 16;
const LEAST: f64 = -2.0;
const STEP: f64 = 0.25;
const STEPS: usize = 29;

/// Points of the density between its lower end and the bound.
const POINTS: usize = 80;

/// Deviates below which nothing of the density is left.
const END: f64 = -6.0;

/// By deviate, and by looks less one: the chance that none of the looks reaches the deviate.
static BELOW: LazyLock<Vec<[f64; LOOKS]>> =
    LazyLock::new(|| (0..STEPS).map(|at| below(LEAST + STEP * at as f64)).collect());

fn below(bound: f64) -> [f64; LOOKS] {
    let width = (bound - END) / POINTS as f64;
    let deviate = |at: usize| END + width * (at as f64 + 0.5);
    // The density of the sum after the present look, over the root of the looks, at the middle of each step.
    let mut density_of: Vec<f64> = (0..POINTS).map(|at| density(deviate(at))).collect();
    let mut chances = [0.0; LOOKS];
    for (look, chance) in chances.iter_mut().enumerate() {
        *chance = (density_of.iter().sum::<f64>() * width).min(1.0);
        let (now, next) = (((look + 1) as f64).sqrt(), ((look + 2) as f64).sqrt());
        let carried = |to: usize| {
            let sum = deviate(to) * next;
            let from =
                density_of.iter().enumerate().map(|(at, mass)| mass * density(sum - deviate(at) * now));
            from.sum::<f64>() * width * next
        };
        density_of = (0..POINTS).map(carried).collect();
    }
    chances
}

/// Standard normal density.
fn density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// Standard normal distribution function (Zelen and Severo, Handbook of Mathematical Functions, 1964, 26.2.17; error below 7.5e-8).
pub(super) fn distribution(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = density(z) * poly;
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// The probability that a hypothesis holds for which the largest of up to `looks` looks was `z`: one minus the chance to see that
/// much although there is nothing.
pub(super) fn confidence(z: f64, looks: u32) -> f64 {
    if z.is_nan() {
        return 0.5;
    }
    let looks = (looks.max(1) as usize).min(LOOKS) - 1;
    let place = (z - LEAST) / STEP;
    if place < 0.0 {
        return BELOW[0][looks];
    }
    if place >= (STEPS - 1) as f64 {
        // Beyond the table looks add up: no chance is smaller than that.
        let sum = 1.0 - (1.0 - distribution(z)) * (looks + 1) as f64;
        return sum.max(BELOW[STEPS - 1][looks]);
    }
    let at = place as usize;
    BELOW[at][looks] + (place - at as f64) * (BELOW[at + 1][looks] - BELOW[at][looks])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_the_normal_distribution_and_more_looks_cost() {
        for z in [-1.0, 0.0, 1.0, 2.0, 3.0] {
            assert!((confidence(z, 1) - distribution(z)).abs() < 2e-3, "{z}: {}", confidence(z, 1));
        }
        // Pocock's bound for a one-sided 0.05 at five looks is 2.12 (Jennison and Turnbull, Group Sequential Methods, 2000, table 2.1 at 0.10 on two sides).
        assert!((confidence(2.122, 5) - 0.95).abs() < 3e-3, "{}", confidence(2.122, 5));
        assert!((confidence(2.289, 10) - 0.95).abs() < 4e-3, "{}", confidence(2.289, 10));
    }

    #[test]
    fn confidence_rises_with_the_deviate_and_is_a_probability() {
        for looks in [1, 6, 16, 40] {
            let all: Vec<f64> = (-100..140).map(|z| confidence(f64::from(z) / 20.0, looks)).collect();
            assert!(all.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{looks}");
            assert!(all.iter().all(|sure| (0.0..=1.0).contains(sure)), "{looks}");
        }
        assert_eq!(confidence(f64::NAN, 3), 0.5);
        assert_eq!((confidence(f64::NEG_INFINITY, 3), confidence(f64::INFINITY, 3)).1, 1.0);
    }
}
