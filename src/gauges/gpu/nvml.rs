//! The questions to NVML. Runs in a child that may be left behind.
//!
//! Every field degrades on its own: an old driver lacks calls, a card that fell off the bus answers some of them, and a
//! card that shares the machine's memory has none of its own to report.

use std::ffi::OsStr;

use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::{Card, Memory, Said};
use crate::gauges::{Gauge, memory};
use crate::probe::Answers;
use crate::sys;

/// The name that every driver installs, then the places outside the loader's path where some systems keep it.
const LIBRARIES: [&str; 3] =
    ["libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1"];

pub(super) fn tell(answers: &mut Answers) {
    let nvml = match open() {
        Ok(nvml) => nvml,
        Err(said) => return answers.say(&said),
    };
    match nvml.device_count() {
        Ok(count) => {
            answers.say(&Said::Count(count));
            (0..count).flat_map(|index| cards(&nvml, index)).for_each(|card| answers.say(&Said::Card(card)));
        }
        Err(error) => answers.say(&Said::Wrong(format!("NVML can't count its devices: {error}"))),
    }
    // Shutting down tells nobody anything, and is one more call that can hang.
    std::mem::forget(nvml);
}

fn open() -> Result<Nvml, Said> {
    for library in LIBRARIES {
        match Nvml::builder().lib_path(OsStr::new(library)).init() {
            Ok(nvml) => return Ok(nvml),
            Err(NvmlError::LibloadingError(error)) if is_absent(library, &error.to_string()) => {}
            Err(NvmlError::DriverNotLoaded) => return Err(Said::Nothing("the NVIDIA driver isn't loaded".into())),
            Err(error) => return Err(Said::Wrong(format!("NVML can't be used: {error}"))),
        }
    }
    Err(Said::Nothing("there is no NVIDIA library (libnvidia-ml.so.1)".into()))
}

/// Whether the loader complains about the library itself, and not about one that it needs or about what is in it.
fn is_absent(library: &str, complaint: &str) -> bool {
    complaint.strip_prefix(library).is_some_and(|rest| rest.contains("No such file or directory"))
}

/// The card, or its MIG devices where it is cut into such.
fn cards(nvml: &Nvml, index: u32) -> Vec<Card> {
    let device = match nvml.device_by_index(index) {
        Ok(device) => device,
        Err(error) => return vec![Card::unknown(index, error.to_string())],
    };
    if device.mig_mode().is_ok_and(|mode| mode.current == 1) {
        let count = device.mig_device_count().unwrap_or(0);
        return (0..count)
            .filter_map(|n| device.mig_device_by_index(n).ok())
            .map(|part| card(nvml, &part, index, true))
            .collect();
    }
    vec![card(nvml, &device, index, false)]
}

fn card(nvml: &Nvml, device: &Device<'_>, index: u32, mig: bool) -> Card {
    // Before the memory: what a process takes in between must not count as both used and free.
    let processes = device.running_compute_processes().unwrap_or_default();
    let processes = processes.into_iter().filter_map(|process| match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some((i32::try_from(process.pid).ok()?, bytes)),
        UsedGpuMemory::Unavailable => None,
    });
    let processes = processes.collect();
    let memory = memory_of(nvml, device).and_then(plausible);
    Card { index, uuid: device.uuid().ok(), name: device.name().ok(), mig, memory, processes }
}

fn plausible(memory: Memory) -> Gauge<Memory> {
    if memory.total == 0 || memory.free > memory.total {
        return Err(format!("{} says {} of {} bytes are free", memory.source, memory.free, memory.total));
    }
    Ok(memory)
}

fn memory_of(nvml: &Nvml, device: &Device<'_>) -> Gauge<Memory> {
    let wrong = match device.memory_info() {
        Ok(memory) => return Ok(Memory { total: memory.total, free: memory.free, source: "nvmlDeviceGetMemoryInfo_v2".into() }),
        Err(NvmlError::NotSupported) => return shared_with_the_machine(),
        Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired | NvmlError::NoPermission)) => return Err(error.to_string()),
        Err(error) => error,
    };
    match sys::nvml_memory_v1(nvml, device) {
        Ok((total, free, _)) => Ok(Memory { total, free, source: "nvmlDeviceGetMemoryInfo".into() }),
        Err(NvmlError::NotSupported) => shared_with_the_machine(),
        // A library without either call is told by what it lacks, any other by its own words.
        Err(NvmlError::FailedToLoadSymbol(_)) => Err(wrong.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A card with unified memory has what the machine has.
fn shared_with_the_machine() -> Gauge<Memory> {
    let machine = memory::machine()?;
    let source = format!("{}, which the card shares", machine.source);
    Ok(Memory { total: machine.total, free: machine.available, source })
}

#[cfg(test)]
mod tests {
    use super::is_absent;

    #[test]
    fn only_a_missing_library_is_absent() {
        let name = "libnvidia-ml.so.1";
        assert!(is_absent(name, "libnvidia-ml.so.1: cannot open shared object file: No such file or directory"));
        for complaint in [
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "libnvidia-ml.so.1: file too short",
            "libnvidia-ml.so.1: cannot open shared object file: Permission denied",
        ] {
            assert!(!is_absent(name, complaint), "{complaint}");
        }
    }
}
