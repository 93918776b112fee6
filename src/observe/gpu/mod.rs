//! Graphics processors: which there are, how much of their memory is in use, how busy they are.
//!
//! Asking a driver may take milliseconds, the first time a second and more, and a card that is about to die may take its time for ever. So a thread of its own
//! asks once a second and leaves the answer where an observer finds it at once. No GPU is the usual case: the thread then looks again every half
//! minute, which costs some ten microseconds, because a driver may be loaded and a container may be given a card later.
//!
//! ```text
//!  nvidia.rs  the driver's library (NVML), opened while running     amd.rs  intel.rs  files below /sys/class/drm
//! ```

mod amd;
mod card;
mod intel;
mod nvidia;

use crate::model::sample::GpuUse;
use nvidia::Nvidia;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

/// Time between measurements.
const MEASURED_EVERY: Duration = Duration::from_secs(1);

/// Time between looks where there is none.
const LOOKED_EVERY: Duration = Duration::from_secs(30);

/// Where GPUs are looked for.
#[derive(Clone, Debug)]
pub struct Places {
    /// The root of `/sys`.
    pub root: PathBuf,
    /// NVIDIA's library: a path, or the name by which the system finds it.
    pub nvml: PathBuf,
    /// What `CUDA_VISIBLE_DEVICES` says, if it is set.
    pub cuda_visible_devices: Option<String>,
}

impl Default for Places {
    /// Those of this machine.
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            nvml: PathBuf::from(nvidia::LIBRARY),
            cuda_visible_devices: cuda_visible_devices(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it is CUDA's variable and no setting of docferry")]
fn cuda_visible_devices() -> Option<String> {
    std::env::var("CUDA_VISIBLE_DEVICES").ok()
}

/// One GPU that was found.
trait Gpu: Send {
    /// Its name, which others may have too.
    fn name(&self) -> String;

    /// What it uses now; the name is left out.
    fn measure(&self) -> GpuUse;
}

/// The GPUs of a machine, asked in the caller's thread.
pub struct Survey {
    places: Places,
    nvidia: Nvidia,
    found: Vec<(String, Box<dyn Gpu>)>,
}

impl Survey {
    /// Nothing has been looked at yet.
    pub fn new(places: Places) -> Self {
        Self { nvidia: Nvidia::default(), places, found: Vec::new() }
    }

    /// Looks for GPUs if none was found before. True: there are some now.
    pub fn look(&mut self) -> bool {
        if !self.found.is_empty() {
            return false;
        }
        let Places { root, nvml, cuda_visible_devices } = &self.places;
        let mut gpus = self.nvidia.find(nvml, cuda_visible_devices.as_deref());
        gpus.extend(amd::find(root));
        gpus.extend(intel::find(root));
        let names: Vec<String> = gpus.iter().map(|gpu| gpu.name()).collect();
        self.found = told_apart(names).into_iter().zip(gpus).collect();
        !self.found.is_empty()
    }

    /// What all of them use now.
    pub fn measure(&self) -> Vec<GpuUse> {
        self.found.iter().map(|(name, gpu)| GpuUse { name: name.clone(), ..gpu.measure() }).collect()
    }
}

/// Names, with its place behind each of those that are equal.
fn told_apart(names: Vec<String>) -> Vec<String> {
    let place = |at: usize| names[..at].iter().filter(|name| **name == names[at]).count();
    let is_alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let told = |(at, name): (usize, &String)| {
        if is_alone(name) { name.clone() } else { format!("{name} #{}", place(at)) }
    };
    names.iter().enumerate().map(told).collect()
}

/// The GPUs of a machine, asked in a thread of their own as long as somebody holds this.
#[derive(Clone)]
pub struct Gpus(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    looked: Condvar,
    thread: Mutex<Option<Thread>>,
}

#[derive(Default)]
struct State {
    has_looked: bool,
    latest: Vec<GpuUse>,
    news: Option<Vec<GpuUse>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpus {
    /// Begins to watch them. Where no thread can be had, there are none.
    pub fn watch(places: Places) -> Self {
        let shared = Arc::new(Shared::default());
        let weak = Arc::downgrade(&shared);
        let watching =
            thread::Builder::new().name("gpu".to_owned()).spawn(move || follow(&weak, Survey::new(places)));
        match watching {
            Ok(thread) => *locked(&shared.thread) = Some(thread.thread().clone()),
            Err(_) => shared.tell(true, Vec::new()),
        }
        Self(shared)
    }

    /// What they used when they were last asked, a second ago at most where they answer.
    pub fn latest(&self) -> Vec<GpuUse> {
        locked(&self.0.state).latest.clone()
    }

    /// What was found, if nobody has been told yet: once nothing, if that is so, and once all GPUs when there are some.
    pub fn news(&self) -> Option<Vec<GpuUse>> {
        locked(&self.0.state).news.take()
    }

    /// Waits until it is known whether there are any, and no longer than so long.
    pub fn wait(&self, most: Duration) {
        let state = locked(&self.0.state);
        let waited = self.0.looked.wait_timeout_while(state, most, |state| !state.has_looked);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shared {
    fn tell(&self, is_new: bool, latest: Vec<GpuUse>) {
        let mut state = locked(&self.state);
        if is_new || !state.has_looked {
            state.news = Some(latest.clone());
        }
        (state.latest, state.has_looked) = (latest, true);
        drop(state);
        self.looked.notify_all();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // It finds nobody left.
        locked(&self.thread).iter().for_each(Thread::unpark);
    }
}

fn follow(shared: &Weak<Shared>, mut survey: Survey) {
    loop {
        let is_new = survey.look();
        let latest = survey.measure();
        let pause = if latest.is_empty() { LOOKED_EVERY } else { MEASURED_EVERY };
        match shared.upgrade() {
            Some(shared) => shared.tell(is_new, latest),
            None => return,
        }
        thread::park_timeout(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::{tree, write};
    use std::path::Path;

    /// More than enough for a thread to begin.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn places(root: &Path) -> Places {
        Places { root: root.to_owned(), nvml: root.join("no-such-library.so"), cuda_visible_devices: None }
    }

    #[test]
    fn equal_names_are_told_apart_by_their_place() {
        let names = ["A", "B", "A"].map(str::to_owned).to_vec();
        assert_eq!(told_apart(names), ["A #0", "B", "A #1"]);
    }

    #[test]
    fn where_there_is_none_that_is_said_once() {
        let root = tree(&[]);
        let gpus = Gpus::watch(places(root.path()));
        gpus.wait(PATIENCE);
        assert_eq!((gpus.news(), gpus.news(), gpus.latest()), (Some(Vec::new()), None, Vec::new()));
    }

    #[test]
    fn one_that_comes_later_is_found_and_one_that_goes_says_nothing_more() {
        let root = tree(&[]);
        let mut survey = Survey::new(places(root.path()));
        assert!(!survey.look() && survey.measure().is_empty());
        let card = "sys/class/drm/card0/device";
        write(
            root.path(),
            &[
                (&format!("{card}/vendor"), "0x1002\n"),
                (&format!("{card}/mem_info_vram_total"), "1000\n"),
                (&format!("{card}/mem_info_vram_used"), "250\n"),
            ],
        );
        assert!(survey.look() && !survey.look(), "it is new once");
        assert_eq!(survey.measure()[0].memory(), Some(0.25));
        std::fs::remove_dir_all(root.path().join(card)).unwrap();
        assert_eq!(survey.measure(), [GpuUse { name: "AMD GPU".to_owned(), ..GpuUse::default() }]);
    }

    #[test]
    fn what_was_found_is_told_to_all_who_look() {
        let root = tree(&[("sys/class/drm/card0/device/vendor", "0x8086\n")]);
        let gpus = Gpus::watch(places(root.path()));
        gpus.wait(PATIENCE);
        let expected = vec![GpuUse { name: "Intel GPU".to_owned(), ..GpuUse::default() }];
        assert_eq!(
            (gpus.clone().news(), gpus.news(), gpus.latest()),
            (Some(expected.clone()), None, expected)
        );
    }
}
