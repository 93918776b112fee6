//! Cards that the kernel's graphics drivers know: the folders `card0`, `card1` and so on below `/sys/class/drm`.

use crate::observe::kernel;
use std::fs;
use std::path::{Path, PathBuf};

/// The device folders of the cards of that vendor, in the order of their numbers. What is plugged into a card (`card0-DP-1`) is none.
pub(super) fn of_vendor(root: &Path, vendor: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/drm")) else { return Vec::new() };
    let mut cards: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.strip_prefix("card")?.parse().ok()?;
            let device = entry.path().join("device");
            let is_it = kernel::text(&device.join("vendor"))?.trim() == vendor;
            is_it.then_some((number, device))
        })
        .collect();
    cards.sort();
    cards.into_iter().map(|(_, device)| device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::tree;

    #[test]
    fn cards_of_a_vendor_are_found_in_order() {
        let root = tree(&[
            ("sys/class/drm/card10/device/vendor", "0x1002\n"),
            ("sys/class/drm/card2/device/vendor", "0x1002\n"),
            ("sys/class/drm/card1/device/vendor", "0x8086\n"),
            ("sys/class/drm/card2-DP-1/device/vendor", "0x1002\n"),
            ("sys/class/drm/renderD128/device/vendor", "0x1002\n"),
            ("sys/class/drm/card3/device/uevent", "x\n"),
            ("sys/class/drm/version", "drm 1.1.0\n"),
        ]);
        let names = |vendor| -> Vec<String> {
            let folder = root.path().join("sys/class/drm");
            let name = |path: PathBuf| path.strip_prefix(&folder).unwrap().display().to_string();
            of_vendor(root.path(), vendor).into_iter().map(name).collect()
        };
        assert_eq!(names("0x1002"), ["card2/device", "card10/device"]);
        assert_eq!(names("0x8086"), ["card1/device"]);
        assert_eq!(of_vendor(Path::new("nowhere"), "0x1002"), Vec::<PathBuf>::new());
    }
}
