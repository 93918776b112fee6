//! Intel's GPUs: that they are there. How much of their memory is in use their drivers tell only of single processes, in ways that differ from driver to driver.

use super::{Gpu, card};
use crate::model::sample::GpuUse;
use std::path::Path;

const VENDOR: &str = "0x8086";

struct Card;

/// Those that there are.
pub(super) fn find(root: &Path) -> impl Iterator<Item = Box<dyn Gpu>> {
    card::of_vendor(root, VENDOR).into_iter().map(|_| Box::new(Card) as _)
}

impl Gpu for Card {
    fn name(&self) -> String {
        "Intel GPU".to_owned()
    }

    fn measure(&self) -> GpuUse {
        GpuUse::default()
    }
}
