//! The formats, one a file: each a pure function over something readable, that believes no length it hasn't bounded.
//!
//! Here is what comes before any format (kind, size, placeholders, holes), and the choice among them.

use std::fs::File;
use std::io::{Read, Seek};

use nix::unistd::{Whence, lseek};

use super::entry::{holds_state, split};
use super::scan::Stat;
use super::verdict::{Checked, Depth, Fault, Passed, Proof, broken};

pub mod gguf;
pub mod hdf5;
pub mod legacy;
pub mod npy;
pub mod onnx;
pub mod pickle;
pub mod safetensors;
pub mod source;
pub mod tar;
pub mod zip;

pub use source::Source;

/// Holes up to this share of a file may be chance: a tenth of a percent.
const HOLES: u64 = 1000;

/// Checks one file of a checkpoint; `name` is its name without its path.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_file(file: &File, name: &str, stat: &Stat, depth: Depth, read: &dyn Fn(u64)) -> Checked {
    if !stat.is_file() {
        return broken("it is no regular file");
    }
    let state = holds_state(name);
    if stat.len == 0 {
        return if state { broken("it is empty") } else { Ok(Passed::at(Proof::None)) };
    }
    let mut source = Source::new(file, stat.len);
    source.seek(0)?;
    let head = source.piece(stat.len.min(512))?;
    if state {
        placeholder(&head)?;
    }
    let passed = by_format(&mut source, name, &head, depth, read)?;
    match holes(file, stat) {
        Some(why) => Err(Fault::Suspect(why)),
        None => Ok(passed),
    }
}

/// What is to be said of a file much of which was never written. Its position is moved.
#[must_use]
pub fn holes(file: &File, stat: &Stat) -> Option<String> {
    let hole = if stat.allocated >= stat.len { 0 } else { hole_bytes(file, stat.len) };
    (hole > stat.len / HOLES).then(|| format!("{hole} of {} bytes were never written (holes)", stat.len))
}

/// What stands where weights should: a pointer of Git LFS, or the error page of a download.
fn placeholder(head: &[u8]) -> Checked<()> {
    if head.starts_with(b"version https://git-lfs.github.com/spec/") {
        return broken("it is a Git LFS pointer, not the file");
    }
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        return broken("it is an HTML page, not the file");
    }
    Ok(())
}

/// Bytes of the file that were never written, as far as its file system tells.
fn hole_bytes(file: &File, len: u64) -> u64 {
    let seek =
        |at: u64, whence| lseek(file, i64::try_from(at).unwrap_or(i64::MAX), whence).ok().and_then(|at| u64::try_from(at).ok());
    let mut holes = 0;
    let mut at = 0;
    while let Some(hole) = seek(at, Whence::SeekHole).filter(|hole| *hole < len) {
        let data = seek(hole, Whence::SeekData).unwrap_or(len).min(len);
        holes += data - hole;
        if data >= len {
            break;
        }
        at = data;
    }
    holes
}

fn by_format<R: Read + Seek>(source: &mut Source<R>, name: &str, head: &[u8], depth: Depth, read: &dyn Fn(u64)) -> Checked {
    let extension = split(name).1.to_ascii_lowercase();
    let torch = matches!(extension.as_str(), "pt" | "pth");
    source.seek(0)?;
    match extension.as_str() {
        "safetensors" => return safetensors::check(source),
        "npz" | "keras" => return zip::check(source, depth, read, zip::Torch::Optional),
        "npy" => return npy::check(source),
        "gguf" => return gguf::check(source),
        "onnx" => return onnx::check(source),
        "h5" | "hdf5" => return hdf5::check(source),
        // Slices of several archives one after another: only the directory in `.metadata` can tell.
        "distcp" => return Ok(Passed::at(Proof::Kind)),
        _ => {}
    }
    if head.starts_with(&zip::LOCAL) {
        return zip::check(source, depth, read, if torch { zip::Torch::Required } else { zip::Torch::Optional });
    }
    if head.starts_with(&legacy::MAGIC) {
        return legacy::check(source);
    }
    if head.starts_with(&gguf::MAGIC) {
        return gguf::check(source);
    }
    if head.starts_with(&hdf5::MAGIC) {
        return hdf5::check(source);
    }
    if head.starts_with(&npy::MAGIC) {
        return npy::check(source);
    }
    if tar::is_header(head) {
        return tar::check(source);
    }
    let pickled = matches!(extension.as_str(), "pt" | "pth" | "bin" | "ckpt" | "pkl" | "pickle");
    if pickled && matches!(head, [0x80, 2..=5, ..]) {
        return pickle::check(source);
    }
    if torch {
        if zip::ends_as_archive(source)? {
            return broken("its first bytes are damaged: it ends as a zip archive and doesn't begin as one");
        }
        if head.iter().all(|byte| *byte == 0) {
            return Err(Fault::Suspect("it begins with zeros, which no format of torch does".to_owned()));
        }
    }
    if extension == "tar" {
        return tar::check(source);
    }
    Ok(Passed::at(Proof::Kind))
}
