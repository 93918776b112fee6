//! Virtual time: what happens next happens at once, and a run of five minutes takes a fraction of a second.

use super::chance::Chance;
use super::controller::Controller;
use super::pipeline::{Counts, Later, Pipeline};
use super::plant::{Plant, Step};
use super::target::Target;
use crate::model::event::Quantiles;
use crate::model::knobs::{Ceilings, Knobs};
use crate::model::sample::{GpuUse, PoolUse, Sample};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// What a core is used by one reader and by one request in flight, in shares of it; a transformer uses all of one, or a quarter where a GPU does the work.
pub(super) const READER_CORES: f64 = 0.08;
pub(super) const REQUEST_CORES: f64 = 0.02;
const GPU_TRANSFORMER_CORES: f64 = 0.25;

/// CPU is held against its ceiling over so many seconds.
const CPU_SECONDS: f64 = 5.0;

/// And may pass it by this much: one window's noise.
const CPU_MARGIN: f64 = 0.02;

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Documents written, by second.
    pub(super) written: Vec<f64>,
    /// Documents thrown back, by second.
    pub(super) throttled: Vec<f64>,
    /// Seconds above each ceiling.
    pub(super) memory_over: f64,
    pub(super) gpu_over: f64,
    pub(super) cpu_over: f64,
    /// Share of the CPU in use, on average.
    pub(super) cpu: f64,
    /// Ticks before which a knob was turned, the credits aside: the rivals have none.
    pub(super) decisions: u32,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Later(usize, Later),
    Tick(usize),
    Step(usize),
}

struct Due(f64, u64, What);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    /// The earliest is the greatest; of equal times the one that was noted first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

/// A plant with its tuners, in motion.
pub(super) struct World<'a> {
    plant: &'a Plant,
    ceilings: Ceilings,
    target: Target<'a>,
    pipelines: Vec<Pipeline<'a>>,
    outcomes: Vec<Outcome>,
    cpu: Vec<Cpu>,
    /// Knobs at the last tick, without credits.
    before_tick: Vec<Option<Knobs>>,
    due: BinaryHeap<Due>,
    number: u64,
    now: f64,
    /// Memory steps: the last, and what it came from.
    before: Step,
    since: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    tick: f64,
    five: f64,
    passed: f64,
}

impl<'a> World<'a> {
    pub(super) fn new(
        plant: &'a Plant,
        ceilings: Ceilings,
        first: Knobs,
        seed: u64,
        mut controllers: impl FnMut() -> Box<dyn Controller + 'a>,
    ) -> Self {
        let mut chance = Chance::new(seed ^ 0x7461_7267_6574);
        let tuners = plant.tuners.max(1);
        let pipelines: Vec<_> = (0..tuners)
            .map(|n| Pipeline::new(plant, controllers(), first, seed + 1_000 * u64::from(n)))
            .collect();
        Self {
            plant,
            ceilings,
            target: Target::new(plant, &mut chance),
            outcomes: vec![Outcome::default(); pipelines.len()],
            cpu: vec![Cpu::default(); pipelines.len()],
            before_tick: vec![None; pipelines.len()],
            pipelines,
            due: BinaryHeap::new(),
            number: 0,
            now: 0.0,
            before: Step::none(),
            since: 0.0,
        }
    }

    /// Plays the plant to its end: an outcome for each tuner.
    pub(super) fn play(mut self) -> Vec<Outcome> {
        for index in 0..self.pipelines.len() {
            self.tick_later(index);
            self.dispatch(index);
        }
        for (index, step) in self.plant.steps.iter().enumerate() {
            self.note(step.at, What::Step(index));
        }
        let end = f64::from(self.plant.seconds);
        while let Some(Due(at, _, what)) = self.due.pop() {
            if at > end {
                break;
            }
            self.pass(at);
            match what {
                What::Later(index, what) => {
                    if self.pipelines[index].happen(at, what, &mut self.target) {
                        self.dispatch(index);
                    }
                }
                What::Tick(index) => {
                    self.tick(index);
                    self.dispatch(index);
                }
                What::Step(step) => self.step(self.plant.steps[step]),
            }
        }
        for (outcome, pipeline) in self.outcomes.iter_mut().zip(self.pipelines) {
            let written: f64 = pipeline.written_by_second.iter().sum();
            debug_assert!(
                (pipeline.begun - written - pipeline.documents()).abs() < 1.0,
                "documents are lost"
            );
            outcome.written = pipeline.written_by_second;
            outcome.throttled = pipeline.throttled_by_second;
        }
        self.outcomes
    }

    fn note(&mut self, at: f64, what: What) {
        self.number += 1;
        self.due.push(Due(at, self.number, what));
    }

    fn dispatch(&mut self, index: usize) {
        self.pipelines[index].dispatch(self.now, &mut self.target);
        for (at, later) in std::mem::take(&mut self.pipelines[index].later) {
            self.note(at, What::Later(index, later));
        }
    }

    fn step(&mut self, step: Step) {
        let memory = (self.more(|step| step.more_memory), self.more(|step| step.more_gpu_memory));
        self.before = Step { more_memory: memory.0, more_gpu_memory: memory.1, ..self.target.step };
        self.since = self.now;
        self.target.step = step;
        if step.split {
            self.target.split();
        }
        (0..self.pipelines.len()).for_each(|index| self.dispatch(index));
    }

    /// What memory others hold by now.
    fn more(&self, of: impl Fn(&Step) -> f64) -> f64 {
        let (from, step) = (of(&self.before), self.target.step);
        let done = if step.over > 0.0 { ((self.now - self.since) / step.over).min(1.0) } else { 1.0 };
        from + (of(&step) - from) * done
    }

    fn memory(&self, index: usize) -> f64 {
        let Pipeline { readers, transformers, read_documents, queued, flying_documents, .. } =
            &self.pipelines[index];
        let waiting = readers.documents + read_documents + queued + flying_documents;
        let documents = waiting * self.plant.documents.bytes
            + transformers.documents * self.plant.transform.document_memory;
        (self.plant.machine.base_memory + self.more(|step| step.more_memory) + documents)
            / self.plant.machine.memory
    }

    fn gpu_memory(&self, index: usize) -> Option<f64> {
        let gpu = self.plant.gpu.as_ref()?;
        let documents = self.pipelines[index].transformers.documents * gpu.document_memory;
        Some((gpu.model_memory + self.more(|step| step.more_gpu_memory) + documents) / gpu.memory)
    }

    fn cpu(&self, index: usize) -> f64 {
        let Pipeline { readers, transformers, in_flight, .. } = &self.pipelines[index];
        let cores = transformer_cores(self.plant) * transformers.len() as f64
            + READER_CORES * readers.len() as f64
            + REQUEST_CORES * *in_flight as f64;
        (cores / self.plant.machine.cores).min(1.0)
    }

    /// Lets time pass until `at`.
    fn pass(&mut self, at: f64) {
        let seconds = at - self.now;
        if seconds > 0.0 {
            for index in 0..self.pipelines.len() {
                let (memory, gpu, cpu) = (self.memory(index), self.gpu_memory(index), self.cpu(index));
                let outcome = &mut self.outcomes[index];
                outcome.memory_over += if memory > self.ceilings.memory { seconds } else { 0.0 };
                outcome.gpu_over += if gpu > Some(self.ceilings.gpu_memory) { seconds } else { 0.0 };
                outcome.cpu += cpu * seconds / f64::from(self.plant.seconds);
                let use_ = &mut self.cpu[index];
                use_.tick += cpu * seconds;
                use_.five += cpu * seconds;
                use_.passed += seconds;
                if use_.passed >= CPU_SECONDS {
                    let over = use_.five / use_.passed > self.ceilings.cpu + CPU_MARGIN;
                    outcome.cpu_over += if over { use_.passed } else { 0.0 };
                    (use_.five, use_.passed) = (0.0, 0.0);
                }
                self.pipelines[index].pass(self.now, seconds);
            }
        }
        self.now = at;
    }

    fn tick_later(&mut self, index: usize) {
        let interval = self.pipelines[index].controller.interval();
        self.note(self.now + interval, What::Tick(index));
    }

    fn tick(&mut self, index: usize) {
        let sample = self.sample(index);
        let pipeline = &mut self.pipelines[index];
        pipeline.controller.tick(&sample, &mut pipeline.knobs);
        // Those laws that look at every answer turn knobs between two ticks.
        let now = Knobs { credit_bytes: 0, ..pipeline.knobs };
        let before = self.before_tick[index].replace(now);
        self.outcomes[index].decisions += u32::from(before.is_some_and(|before| before != now));
        self.tick_later(index);
    }

    /// What production would have measured.
    fn sample(&mut self, index: usize) -> Sample {
        let window = self.pipelines[index].controller.interval();
        let (memory, gpu) = (self.memory(index), self.gpu_memory(index));
        let cpu = std::mem::take(&mut self.cpu[index].tick) / window;
        let (plant, now) = (self.plant, self.now);
        let pipeline = &mut self.pipelines[index];
        let counts = std::mem::take(&mut pipeline.counts);
        let bytes = plant.documents.bytes;
        let Knobs { readers, transformers, requests_in_flight, credit_bytes, .. } = pipeline.knobs;
        let most_transforming = pipeline.transformers.most_documents;
        let pool = |size: usize, busy: f64, progress: f64, work| PoolUse {
            busy: busy / window / size as f64,
            blocked: 0.0,
            documents_per_second: progress / window,
            bytes_per_second: progress / window * bytes,
            work,
        };
        let crew = |crew: &mut super::crew::Crew, size| {
            let (busy, progress) = (std::mem::take(&mut crew.busy), std::mem::take(&mut crew.progress));
            crew.most_documents = crew.documents;
            pool(size, busy, progress, std::mem::take(&mut crew.work))
        };
        let readers = crew(&mut pipeline.readers, readers);
        let transformers = crew(&mut pipeline.transformers, transformers);
        let requests = pool(requests_in_flight, counts.outstanding, counts.written, counts.requests);
        let in_credits = pipeline.documents() * bytes;
        Sample {
            at: Duration::from_secs_f64(now),
            window: Duration::from_secs_f64(window),
            documents_per_second: counts.written / window,
            bytes_per_second: readers.bytes_per_second,
            readers,
            transformers,
            requests,
            latency: latency(&counts),
            queued_documents: pipeline.queued as u64,
            transforming_documents: pipeline.transformers.documents as u64,
            most_transforming_documents: most_transforming as u64,
            throttled: counts.throttled_answers / counts.answers.max(1.0),
            failed: counts.failed / counts.answers.max(1.0),
            answers: counts.answers as u64,
            request_units_per_second: counts.request_units / window,
            credits_used: in_credits / credit_bytes as f64,
            credit_bytes_used: in_credits as u64,
            credits_short: counts.short / window,
            lanes_gated: counts.gated / window,
            cpu,
            memory: Some(memory),
            resident_bytes: (memory * plant.machine.memory) as u64,
            memory_limit: plant.machine.memory as u64,
            gpus: plant.gpu.iter().map(|device| used_of(device, gpu)).collect(),
            unfinished_partitions: 1_000,
            ..Sample::default()
        }
    }
}

/// What a transformer uses.
pub(super) fn transformer_cores(plant: &Plant) -> f64 {
    if plant.gpu.is_some() { GPU_TRANSFORMER_CORES } else { 1.0 }
}

/// The mean stands for the median.
fn latency(counts: &Counts) -> Quantiles {
    let mean = counts.requests.seconds / counts.requests.pieces.max(1.0);
    let count = counts.requests.pieces as u64;
    Quantiles { count, p50: Duration::from_secs_f64(mean), ..Quantiles::default() }
}

/// A GPU of whose memory a share is used.
fn used_of(device: &super::plant::Gpu, share: Option<f64>) -> GpuUse {
    GpuUse {
        name: "simulated".into(),
        used: share.map(|share| (share * device.memory) as u64),
        total: Some(device.memory as u64),
        busy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::docferry::{self, Docferry};
    use crate::simulate::plant;
    use crate::simulate::rivals::Fixed;

    fn play(plant: &Plant, seed: u64) -> Vec<Outcome> {
        let make = || {
            Box::new(Docferry::new(docferry::balanced(), Box::new(|_, _, _, _| {}))) as Box<dyn Controller>
        };
        World::new(plant, docferry::CEILINGS, docferry::START, seed, make).play()
    }

    fn keep(plant: &Plant, knobs: Knobs) -> Outcome {
        let make = || Box::new(Fixed(knobs)) as Box<dyn Controller>;
        World::new(plant, docferry::CEILINGS, knobs, 1, make).play().swap_remove(0)
    }

    #[test]
    fn a_seed_decides_everything() {
        let plant = plant::named("seconds = 30\n[target]\nrequest_units = 3000");
        let (once, again, other) = (play(&plant, 1), play(&plant, 1), play(&plant, 2));
        assert_eq!(once[0].written, again[0].written);
        assert_eq!(once[0].throttled, again[0].throttled);
        assert_ne!(once[0].written, other[0].written);
    }

    /// `play` itself counts the documents in debug builds: those read are written or under way.
    #[test]
    fn no_document_is_lost_where_partitions_split_requests_fail_and_tuners_share() {
        let plant = plant::named(
            "seconds = 60\ntuners = 2\n\
             steps = [{ at = 20, split = true }, { at = 20.5, split = true, failing = 0.1 }, { at = 40 }]\n\
             [target]\nrequest_units = 5000\nshares = [0.5, 0.3, 0.2]",
        );
        for outcome in play(&plant, 1) {
            assert!(outcome.written.iter().sum::<f64>() > 20_000.0);
        }
        assert!(keep(&plant, docferry::START).written.iter().sum::<f64>() > 20_000.0);
    }

    #[test]
    fn a_pipeline_with_one_worker_each_is_as_fast_as_its_slowest_pool() {
        let knobs = Knobs {
            readers: 1,
            transformers: 1,
            requests_in_flight: 1,
            batch_documents: 1_000,
            ..docferry::START
        };
        let plant = plant::named(
            "seconds = 100\n[source]\nbatch_seconds = 0\ndocument_seconds = 0.0001\n\
             [transform]\nbatch_seconds = 1\ndocument_seconds = 0.001\n[target]\nlatency = 0.01",
        );
        let written: f64 = keep(&plant, knobs).written[10..100].iter().sum();
        assert!((written / 90.0 - 500.0).abs() < 20.0, "{written}");
    }

    /// Reads one document at a time for the first twenty seconds.
    struct LargerLater;

    impl Controller for LargerLater {
        fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
            (knobs.transformers, knobs.batch_documents) = (1, 1);
        }

        fn sets_credits(&self) -> bool {
            true
        }

        fn tick(&mut self, sample: &Sample, knobs: &mut Knobs) {
            knobs.batch_documents = if sample.at.as_secs() < 20 { 1 } else { 1_000 };
        }
    }

    /// As in the pipeline itself: else what was read in small batches would be transformed one by one long after batches are larger.
    #[test]
    fn few_batches_wait_for_the_steps_however_small_they_are() {
        let plant = plant::named(
            "seconds = 60\n[source]\nbatch_seconds = 0.01\n\
             [transform]\nbatch_seconds = 1\ndocument_seconds = 0",
        );
        let make = || Box::new(LargerLater) as Box<dyn Controller>;
        let world = World::new(&plant, docferry::CEILINGS, docferry::START, 1, make);
        let written: f64 = world.play()[0].written[30..60].iter().sum();
        assert!((25_000.0..35_000.0).contains(&written), "a thousand a second: {written}");
    }

    #[test]
    fn seconds_above_a_ceiling_are_counted_while_it_is_passed() {
        // 75 % of 10 GB: base and what others take pass it when 5 of the 6 GB have come, at 10 + 50 s, until all of it goes at 80 s.
        let plant = plant::named(
            "seconds = 100\nsteps = [{ at = 10, more_memory = 6e9, over = 60 }, { at = 80 }]\n\
             [machine]\nmemory = 10e9\nbase_memory = 2.4e9\n[documents]\nbytes = 100\n[transform]\ndocument_memory = 100",
        );
        let over = keep(&plant, docferry::START).memory_over;
        assert!((over - 19.0).abs() < 0.5, "{over}");
    }

    #[test]
    fn latency_alone_changes_what_a_request_yields() {
        let plant =
            plant::named("seconds = 60\nsteps = [{ at = 30, latency = 3.0 }]\n[target]\nlatency = 0.1");
        let written = keep(&plant, docferry::START).written;
        let (before, after): (f64, f64) = (written[10..30].iter().sum(), written[35..55].iter().sum());
        assert!((before / after - 3.0).abs() < 0.3, "{before} {after}");
    }
}
