//! How much of the swap space is used.

use sysinfo::MemoryRefreshKind;

use super::{Gauge, Reading, percent, text};

/// Used swap in percent; `None` where there is no swap at all.
///
/// # Errors
/// When `/proc/meminfo` can't be read.
pub fn used() -> Gauge<Reading<Option<f64>>> {
    let path = "/proc/meminfo";
    if !text(path)?.contains("\nSwapTotal:") {
        return Err(super::not_understood(path));
    }
    let mut system = super::system()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_swap());
    let total = system.total_swap();
    let value = (total > 0).then(|| percent(system.used_swap(), total));
    Ok(Reading { value, source: path.into() })
}
