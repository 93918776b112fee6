//! AMD's GPUs, from the files of the `amdgpu` driver.

use super::{Gpu, card};
use crate::model::sample::GpuUse;
use crate::observe::kernel;
use std::path::{Path, PathBuf};

const VENDOR: &str = "0x1002";

struct Card(PathBuf);

/// Those that there are.
pub(super) fn find(root: &Path) -> impl Iterator<Item = Box<dyn Gpu>> {
    card::of_vendor(root, VENDOR).into_iter().map(|device| Box::new(Card(device)) as _)
}

impl Gpu for Card {
    fn name(&self) -> String {
        let name = kernel::text(&self.0.join("product_name")).map(|name| name.trim().to_owned());
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| "AMD GPU".to_owned())
    }

    fn measure(&self) -> GpuUse {
        let number = |name: &str| kernel::number(&self.0.join(name));
        GpuUse {
            name: String::new(),
            used: number("mem_info_vram_used"),
            total: number("mem_info_vram_total"),
            busy: number("gpu_busy_percent").map(|percent| percent.min(100) as f64 / 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::tree;

    #[test]
    fn a_card_tells_its_memory_and_how_busy_it_is_or_leaves_it() {
        let root = tree(&[
            ("sys/class/drm/card0/device/vendor", "0x1002\n"),
            ("sys/class/drm/card0/device/product_name", "AMD Instinct MI210\n"),
            ("sys/class/drm/card0/device/mem_info_vram_total", "68702699520\n"),
            ("sys/class/drm/card0/device/mem_info_vram_used", "10000000\n"),
            ("sys/class/drm/card0/device/gpu_busy_percent", "37\n"),
            ("sys/class/drm/card1/device/vendor", "0x1002\n"),
            ("sys/class/drm/card1/device/mem_info_vram_total", "garbage\n"),
        ]);
        let found: Vec<_> = find(root.path()).map(|gpu| (gpu.name(), gpu.measure())).collect();
        let first = GpuUse {
            name: String::new(),
            used: Some(10_000_000),
            total: Some(68_702_699_520),
            busy: Some(0.37),
        };
        assert_eq!(
            found,
            [("AMD Instinct MI210".to_owned(), first), ("AMD GPU".to_owned(), GpuUse::default())]
        );
    }
}
