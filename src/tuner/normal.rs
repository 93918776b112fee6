//! How sure a test is: the normal distribution, and what repeated looks at one test cost.
//!
//! A test that is looked at after every window finds "significant" what is noise more often than its level says: with six looks at 0.15 an
//! experiment in which nothing changes is called a success one time in three. So the chance that the *largest* of all looks is as large as what was
//! seen is what counts. For sums of independent windows that chance is
//!
//! ```text
//!   P(max over 1 <= t <= T of B(t)/sqrt(t) >= z)  ~  1 - Phi(z)  +  phi(z) * (z - 1/z) * ln(T) / 2
//! ```
//!
//! (Siegmund, Sequential Analysis, 1985, chapter 4, one side of it), for looks at any time between the first and `T` times as much data. Looks once a window are fewer, so
//! this errs on the safe side; a test in this room plays ten thousand experiments in which nothing changes.

/// Below this the formula is no approximation any more.
const LEAST_Z: f64 = 1.2;

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
    let chance = |z: f64| {
        let span = f64::from(looks.max(1)).ln();
        1.0 - distribution(z) + density(z) * (z - 1.0 / z) * span / 2.0
    };
    if z >= LEAST_Z {
        return 1.0 - chance(z);
    }
    // Nothing is decided down here: it need only rise, and meet the formula.
    (1.0 - chance(LEAST_Z)) * distribution(z) / distribution(LEAST_Z)
}
