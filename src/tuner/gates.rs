//! How far memory, the memory of a GPU and the CPU allow anything to grow: what was measured, explained by what was in it, and where it leads.
//!
//! Memory = base + a x (bytes of credits in use) + b x (documents in transform). The slopes are learnt from how memory *changes* from one sample to the next, so
//! that neither the base nor a slow drift of it is taken for them. With them the gate says what memory will be when credits and
//! batches are as large as the knobs allow, long before it is. What is left is the base; if that grows it is somebody else's doing or a leak, and is
//! followed some seconds into the future (Holt's linear trend).

use crate::model::sample::Sample;

/// Share that is kept of old changes in each window: a minute and a half.
const KEEP: f64 = 0.99;

/// Weights of the newest window in the base and in its trend.
const LEVEL_WEIGHT: f64 = 0.5;
const TREND_WEIGHT: f64 = 0.5;

/// Weight of the newest window in the variance of what is not explained.
const REST_WEIGHT: f64 = 0.25;

/// Standard deviations of what is not explained that are kept free.
const DEVIATIONS: f64 = 2.5;

/// At first all that is measured is laid to the documents, which is the worse assumption for growth, with the weight of a change by this share of the first sample.
const DOUBT: f64 = 0.1;

/// Squares of changes, as shares of the first sample, from which on a slope is known by them alone: one by a half, or many smaller ones.
const SHOWN: f64 = 0.25;

/// What bounds a ceiling's signal, and where it leads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauge {
    /// The first sample's regressors, by which all are divided.
    scale: [f64; 2],
    /// Normal equations of the changes: squares and products of the regressors', and with the value's.
    squares: [f64; 3],
    products: [f64; 2],
    /// The first regressor's square and product by changes alone, without the doubt of the beginning.
    learnt: [f64; 2],
    slopes: [f64; 2],
    base: f64,
    trend: f64,
    rest: f64,
    last: Option<(f64, [f64; 2], f64)>,
}

impl Gauge {
    /// Takes a sample in: what the value should hang on, and the value.
    pub(super) fn add(&mut self, at: f64, of: [f64; 2], value: f64) {
        for at in [0, 1] {
            if self.scale[at] == 0.0 && of[at] > 0.0 {
                // What is not known to have been there without it is laid to it.
                let without = if self.last.is_some() { self.base } else { 0.0 };
                let beside = self.scale.iter().filter(|scale| **scale > 0.0).count() as f64;
                self.scale[at] = of[at];
                self.squares[at] = DOUBT * DOUBT;
                self.products[at] = DOUBT * DOUBT * (value - without).max(0.0) / (1.0 + beside);
            }
        }
        let x = self.scaled(of);
        if let Some((before, x_before, value_before)) = self.last.filter(|(before, ..)| at > *before) {
            self.learn([x[0] - x_before[0], x[1] - x_before[1]], value - value_before);
            let base = value - self.explained(x);
            let expected = self.base + self.trend * (at - before);
            let error = base - expected;
            self.base = expected + LEVEL_WEIGHT * error;
            self.trend += TREND_WEIGHT * LEVEL_WEIGHT * error / (at - before);
            self.rest += REST_WEIGHT * (error * error - self.rest);
        } else {
            self.solve();
            self.base = value - self.explained(x);
        }
        self.last = Some((at, x, value));
    }

    fn scaled(&self, of: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|at| if self.scale[at] > 0.0 { of[at] / self.scale[at] } else { 0.0 })
    }

    fn explained(&self, x: [f64; 2]) -> f64 {
        self.slopes[0] * x[0] + self.slopes[1] * x[1]
    }

    /// How much of the value so much of the first regressor makes: as far as changes have shown it, once they have.
    pub(super) fn explains(&self, of: f64) -> f64 {
        let [x, _] = self.scaled([of, 0.0]);
        let [square, product] = self.learnt;
        x * if square < SHOWN { self.slopes[0] } else { product / square }
    }

    fn learn(&mut self, change: [f64; 2], value: f64) {
        let [one, two] = change;
        for (sum, new) in self.squares.iter_mut().zip([one * one, two * two, one * two]) {
            *sum = KEEP * *sum + new;
        }
        for (sum, new) in self.products.iter_mut().zip(change) {
            *sum = KEEP * *sum + new * value;
        }
        self.learnt = [KEEP * self.learnt[0] + one * one, KEEP * self.learnt[1] + one * value];
        self.solve();
    }

    /// Slopes are not negative: where one would be, the other explains all.
    fn solve(&mut self) {
        let [one, two, both] = self.squares;
        let [first, second] = self.products;
        let alone = |product: f64, square: f64| if square > 0.0 { (product / square).max(0.0) } else { 0.0 };
        let determinant = one * two - both * both;
        let slopes = if determinant > 1e-9 * one * two {
            [(first * two - second * both) / determinant, (second * one - first * both) / determinant]
        } else {
            [alone(first, one), 0.0]
        };
        self.slopes = match slopes {
            [a, b] if a < 0.0 && b < 0.0 => [0.0; 2],
            [a, _] if a < 0.0 => [0.0, alone(second, two)],
            [_, b] if b < 0.0 => [alone(first, one), 0.0],
            both => both,
        };
    }

    /// Seconds since the last sample.
    pub(super) fn age(&self, now: f64) -> f64 {
        self.last.map_or(f64::INFINITY, |(at, ..)| now - at)
    }

    /// Nothing was measured yet.
    pub(super) fn is_silent(&self) -> bool {
        self.last.is_none()
    }

    /// By what share of the value what is explained differs from what was measured.
    pub(super) fn relative_error(&self) -> f64 {
        let value = self.last.map_or(0.0, |(.., value)| value);
        if value > 0.0 { self.rest.sqrt() / value } else { 1.0 }
    }

    /// What the next second's value is expected to be, with so much in it.
    pub(super) fn expected(&self, of: [f64; 2]) -> Option<f64> {
        self.last.map(|_| self.base + self.trend + self.explained(self.scaled(of)))
    }

    /// The value with so much in it, if the base goes on as it does for the seconds `ahead`.
    pub(super) fn with(&self, of: [f64; 2], ahead: f64) -> f64 {
        self.base(ahead) + self.explained(self.scaled(of))
    }

    fn base(&self, ahead: f64) -> f64 {
        self.base + ahead * self.trend.max(0.0) + DEVIATIONS * self.rest.sqrt()
    }

    /// How many times as much as this keeps the value under `ceiling` for the seconds `ahead`.
    pub(super) fn fits(&self, of: [f64; 2], ceiling: f64, ahead: f64) -> f64 {
        let slope = self.explained(self.scaled(of));
        if self.is_silent() || slope <= 0.0 {
            f64::INFINITY
        } else {
            ((ceiling - self.base(ahead)) / slope).max(0.0)
        }
    }
}

/// Smoothed CPU, and how many transformers it allows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    pub(super) smoothed: f64,
    pub(super) latest: f64,
}

impl Cpu {
    pub(super) fn add(&mut self, sample: &Sample, smoothing: f64) {
        let weight = if self.smoothed == 0.0 { 1.0 } else { smoothing };
        self.smoothed += weight * (sample.cpu - self.smoothed);
        self.latest = sample.cpu;
    }

    /// The most transformers for which CPU stays under its ceiling, if all of it is theirs.
    pub(super) fn most_transformers(&self, transformers: f64, ceiling: f64) -> f64 {
        let used = self.smoothed.max(self.latest);
        if used <= 0.0 { f64::INFINITY } else { (transformers * (ceiling + 0.01) / used).floor() }
    }
}
