//! NVIDIA's GPUs, from the driver's own library (NVML), which is opened while the program runs: where there is none, nothing is missing.
//!
//! **Which GPUs.** `CUDA_VISIBLE_DEVICES` hides GPUs from whatever computes in this process, so it hides them here: a list of places or of beginnings of UUIDs, which ends
//! at the first that does not exist, as CUDA reads it. Places are NVML's, the order of the bus; they are CUDA's where the GPUs are of one kind or `CUDA_DEVICE_ORDER` is
//! `PCI_BUS_ID`. A part of a GPU (MIG) is named by its UUID.
//!
//! **What is not told.** Each function of the library is looked for when it is called, and each may say that it does not know (a part of a GPU, a virtual machine), or that
//! the GPU is lost: that metric is then absent. The library is never closed: an older or partial one may lack the function for that, and the wrapper takes that
//! for a defect.

use super::Gpu;
use crate::model::sample::GpuUse;
use nvml_wrapper::{Device, Nvml};
use std::path::Path;

/// The name by which the system finds the library.
pub(super) const LIBRARY: &str = if cfg!(windows) { "nvml.dll" } else { "libnvidia-ml.so.1" };

/// The library, once it is open.
#[derive(Default)]
pub(super) struct Nvidia(Option<&'static Nvml>);

impl Nvidia {
    /// The GPUs that this process may use.
    pub(super) fn find(&mut self, library: &Path, visible: Option<&str>) -> Vec<Box<dyn Gpu>> {
        if self.0.is_none() {
            let opened = Nvml::builder().lib_path(library.as_os_str()).init();
            self.0 = opened.ok().map(|nvml| &*Box::leak(Box::new(nvml)));
        }
        let Some(nvml) = self.0 else { return Vec::new() };
        let all = 0..nvml.device_count().unwrap_or(0);
        let Some(visible) = visible else {
            return all.filter_map(|at| nvml.device_by_index(at).ok()).map(boxed).collect();
        };
        let uuid = |at| nvml.device_by_index(at).and_then(|device| device.uuid()).unwrap_or_default();
        let uuids: Vec<String> = all.map(uuid).collect();
        let device = |name: Name<'_>| match name {
            Name::Part(uuid) => nvml.device_by_uuid(uuid).ok(),
            Name::Place(_) | Name::Uuid(_) => nvml.device_by_index(place(name, &uuids)?).ok(),
        };
        named(visible).map_while(device).map(boxed).collect()
    }
}

fn boxed(device: Device<'static>) -> Box<dyn Gpu> {
    Box::new(Card(device))
}

/// What names a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name<'a> {
    Place(u32),
    /// The beginning of one.
    Uuid(&'a str),
    /// A part of a GPU.
    Part(&'a str),
}

/// The names in `CUDA_VISIBLE_DEVICES`, until one that names nothing (`-1`, say).
fn named(visible: &str) -> impl Iterator<Item = Name<'_>> {
    visible.split(',').map(str::trim).map_while(|name| {
        if name.starts_with("MIG-") {
            Some(Name::Part(name))
        } else if name.starts_with("GPU-") {
            Some(Name::Uuid(name))
        } else {
            name.parse().ok().map(Name::Place)
        }
    })
}

/// The place of the GPU that is named, which must be one alone.
fn place(name: Name<'_>, uuids: &[String]) -> Option<u32> {
    match name {
        Name::Place(place) => Some(place),
        Name::Uuid(beginning) => {
            let mut found = (0..).zip(uuids).filter(|(_, uuid)| uuid.starts_with(beginning));
            found.next().filter(|_| found.next().is_none()).map(|(at, _)| at)
        }
        Name::Part(_) => None,
    }
}

struct Card(Device<'static>);

impl Gpu for Card {
    fn name(&self) -> String {
        self.0.name().unwrap_or_else(|_| "NVIDIA GPU".to_owned())
    }

    fn measure(&self) -> GpuUse {
        let memory = self.0.memory_info().ok();
        GpuUse {
            name: String::new(),
            used: memory.as_ref().map(|memory| memory.used),
            total: memory.as_ref().map(|memory| memory.total),
            busy: self.0.utilization_rates().ok().map(|rates| f64::from(rates.gpu.min(100)) / 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn visible(text: &str) -> Vec<u32> {
        let uuids = ["GPU-aa11", "GPU-aa22", "GPU-bb"].map(str::to_owned);
        named(text).map_while(|name| place(name, &uuids)).collect()
    }

    #[test]
    fn gpus_are_named_by_place_or_by_the_beginning_of_a_uuid() {
        assert_eq!(visible("2, 0"), [2, 0]);
        assert_eq!(visible("GPU-bb,GPU-aa2"), [2, 1]);
        assert_eq!(visible("GPU-aa,0"), [0_u32; 0], "which of the two is not said");
        assert_eq!(visible("0,GPU-cc,1"), [0]);
        assert_eq!((visible(""), visible("-1"), visible("1,-1,0")), (vec![], vec![], vec![1]));
        let names: Vec<_> = named("MIG-5,NoDevFiles,1").collect();
        assert_eq!(names, [Name::Part("MIG-5")]);
    }

    #[test]
    fn without_the_library_there_are_none() {
        assert_eq!(Nvidia::default().find(Path::new("no-such-library.so"), None).len(), 0);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "([-,0-9 A-Z]|.)*") {
            let _ = visible(&text);
        }
    }
}
