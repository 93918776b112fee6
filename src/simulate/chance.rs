//! Chance with a seed: the same in every run and on every machine that rounds as IEEE 754 says.

/// A generator of random numbers (xorshift64, Marsaglia 2003): no more is asked of it than that a plant is not regular.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            chance.uniform();
        }
        chance
    }

    /// Between 0 and 1, neither of them.
    pub(super) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Normal, mean 0 and deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Log-normal with mean 1 and this deviation.
    pub(super) fn about_one(&mut self, deviation: f64) -> f64 {
        if deviation <= 0.0 {
            return 1.0;
        }
        let variance = (1.0 + deviation * deviation).ln();
        (variance.sqrt() * self.normal() - variance / 2.0).exp()
    }

    /// Pareto with this exponent, which must be above 1, up to `most`, and with mean 1 as far as `most` is far above it.
    pub(super) fn pareto(&mut self, exponent: f64, most: f64) -> f64 {
        let least = (exponent - 1.0) / exponent;
        // What lies above `most` is missing from the mean.
        let mean = 1.0 - (least / most).powf(exponent - 1.0) / exponent;
        (least * self.uniform().powf(-1.0 / exponent)).min(most) / mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(mut of: impl FnMut(&mut Chance) -> f64) -> f64 {
        let mut chance = Chance::new(1);
        (0..200_000).map(|_| of(&mut chance)).sum::<f64>() / 200_000.0
    }

    #[test]
    fn every_distribution_has_the_mean_it_promises() {
        assert!((mean(Chance::uniform) - 0.5).abs() < 0.01);
        assert!(mean(Chance::normal).abs() < 0.01);
        assert!((mean(|chance| chance.about_one(0.6)) - 1.0).abs() < 0.01);
        assert!((mean(|chance| chance.pareto(1.5, 500.0)) - 1.0).abs() < 0.03);
    }
}
