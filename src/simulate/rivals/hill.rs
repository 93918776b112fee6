//! Hill climbing of the .NET thread pool (`PortableThreadPool.HillClimbing.cs`; Hellerstein, Morrison and Eilebrecht 2009): a small square wave is
//! laid over the number of workers, and the number moves by how strongly throughput swings at the wave's frequency, against what swings beside it.

use super::{Controller, MOST_REQUESTS};
use crate::model::knobs::Knobs;
use crate::model::sample::Sample;

/// Samples in a wave, and samples kept: eight waves.
const PERIOD: f64 = 4.0;
const HISTORY: usize = 32;
/// Throughput must grow by more than this share of the growth of workers.
const TARGET_RATIO: f64 = 0.15;
const TARGET_SIGNAL_TO_NOISE: f64 = 3.0;
const ERROR_WEIGHT: f64 = 0.01;
/// Workers per second of a move of which it is certain, its exponent, and the most per sample.
const GAIN: f64 = 4.0;
const GAIN_EXPONENT: f64 = 2.0;
const MOST_MOVE: f64 = 20.0;
const WAVE_FACTOR: f64 = 2.0;
const MOST_WAVE: f64 = 20.0;
/// A sample goes on until completions are so many that the workers' own are at most this share of them.
const MOST_SAMPLE_ERROR: f64 = 0.15;
/// Published is 10 to 200 ms, from short to long as the law finds; the longest suits slow requests best.
const INTERVAL: f64 = 0.2;
const FIRST: f64 = 8.0;
const LEAST: f64 = 2.0;

/// A swing at one frequency, relative to the mean.
#[derive(Clone, Copy)]
struct Swing {
    real: f64,
    imaginary: f64,
}

impl Swing {
    fn strength(self) -> f64 {
        self.real.hypot(self.imaginary)
    }
}

pub(super) struct Hill {
    given: Knobs,
    workers: f64,
    /// Documents and seconds of the sample under way.
    documents: f64,
    seconds: f64,
    /// The last samples: throughput, and workers it was had with.
    throughputs: [f64; HISTORY],
    counts: [f64; HISTORY],
    samples: usize,
    noise: f64,
}

impl Hill {
    pub(super) fn new(given: Knobs) -> Self {
        Self {
            given,
            workers: FIRST,
            documents: 0.0,
            seconds: 0.0,
            throughputs: [0.0; HISTORY],
            counts: [0.0; HISTORY],
            samples: 0,
            noise: 0.0,
        }
    }

    /// Goertzel's algorithm over the last `length` samples, relative to their mean.
    fn swing(&self, of: &[f64; HISTORY], length: usize, period: f64) -> Swing {
        let angle = std::f64::consts::TAU / period;
        let (mut newer, mut older, mut sum) = (0.0, 0.0, 0.0);
        for index in self.samples - length..self.samples {
            let value = of[index % HISTORY];
            sum += value;
            (newer, older) = (2.0 * angle.cos() * newer - older + value, newer);
        }
        Swing { real: (newer - older * angle.cos()) / sum, imaginary: older * angle.sin() / sum }
    }

    /// Which way and how far, between -1 and 1.
    fn direction(&mut self) -> f64 {
        let waves = ((self.samples - 1).min(HISTORY) as f64 / PERIOD).floor();
        let length = (waves * PERIOD) as usize;
        if waves < 2.0 || (0..length).all(|at| self.throughputs[at] == 0.0) {
            return 0.0;
        }
        let throughput = self.swing(&self.throughputs, length, PERIOD);
        let beside = |waves: f64| self.swing(&self.throughputs, length, length as f64 / waves).strength();
        let error = beside(waves + 1.0).max(beside(waves - 1.0));
        let workers = self.swing(&self.counts, length, PERIOD);
        self.noise = if self.noise == 0.0 { error } else { self.noise + ERROR_WEIGHT * (error - self.noise) };
        let strength = workers.strength();
        if strength <= 0.0 {
            return 0.0;
        }
        let along = (throughput.real - TARGET_RATIO * workers.real) * workers.real
            + (throughput.imaginary - TARGET_RATIO * workers.imaginary) * workers.imaginary;
        let noise = self.noise.max(error);
        let confidence = if noise > 0.0 { strength / noise / TARGET_SIGNAL_TO_NOISE } else { 1.0 };
        (along / (strength * strength)).clamp(-1.0, 1.0) * confidence.clamp(0.0, 1.0)
    }
}

impl Controller for Hill {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = Knobs { requests_in_flight: FIRST as usize, ..self.given };
    }

    fn interval(&self) -> f64 {
        INTERVAL
    }

    fn tick(&mut self, sample: &Sample, knobs: &mut Knobs) {
        let seconds = sample.window.as_secs_f64();
        self.documents += sample.documents_per_second * seconds;
        self.seconds += seconds;
        let requests = knobs.requests_in_flight as f64;
        let completions = self.documents / knobs.request_documents as f64;
        if self.samples > 0 && (requests - 1.0) / completions.max(1e-9) >= MOST_SAMPLE_ERROR {
            return;
        }
        self.throughputs[self.samples % HISTORY] = self.documents / self.seconds;
        self.counts[self.samples % HISTORY] = requests;
        self.samples += 1;
        (self.documents, self.seconds) = (0.0, 0.0);
        let direction = self.direction();
        let gain = GAIN * seconds;
        self.workers += (direction.abs().powf(GAIN_EXPONENT) * direction.signum() * gain).min(MOST_MOVE);
        let noise = self.workers * self.noise * TARGET_SIGNAL_TO_NOISE * WAVE_FACTOR;
        let wave = (0.5 + noise).floor().clamp(1.0, MOST_WAVE);
        self.workers = self.workers.clamp(LEAST, MOST_REQUESTS - wave);
        let is_high = (self.samples / (PERIOD as usize / 2)) % 2 == 1;
        knobs.requests_in_flight = (self.workers + if is_high { wave } else { 0.0 }) as usize;
    }
}
