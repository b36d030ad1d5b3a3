//! Manifests: `SHA256SUMS` as coreutils writes and checks it, or `B3SUMS`, with relative names.
//!
//! It is written last, so that it marks the commit too. A comment line before each file notes its size, which the quick
//! check compares; `sha256sum -c` passes over comments.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;

use super::digest::{Algorithm, Cache, Digest, hex, of, unhex};
use super::dir::Dir;
use super::tree::{Node, Tree};
use super::verdict::{Checked, Depth, Fault, Passed, Proof, broken};

/// The manifests that are known, by name.
pub const NAMES: [(&str, Algorithm); 2] = [("SHA256SUMS", Algorithm::Sha256), ("B3SUMS", Algorithm::Blake3)];

/// Lines longer than this name no file.
const LINE: u64 = 16 * 1024;

/// One file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, relative to the manifest.
    pub name: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// Its size, where the manifest says it.
    pub size: Option<u64>,
}

/// A manifest's text. Names with a newline or a backslash are escaped as coreutils does.
#[must_use]
pub fn write(files: &[Listed]) -> String {
    let mut text = String::from("# ckpt-rotate: check with sha256sum -c\n");
    for file in files {
        let name = file.name.to_string_lossy();
        let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let mark = if escaped == name { "" } else { "\\" };
        if let Some(size) = file.size {
            let _ = writeln!(text, "# size {size}");
        }
        let _ = writeln!(text, "{mark}{}  {escaped}", hex(&file.digest));
    }
    text
}

/// Reads a manifest.
///
/// # Errors
/// Says which line is none, or that its end is missing.
pub fn read(from: impl Read) -> Checked<Vec<Listed>> {
    let mut from = BufReader::new(from);
    let mut files = Vec::new();
    let mut size = None;
    for number in 1.. {
        let mut line = Vec::new();
        if from.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.pop() != Some(b'\n') {
            return broken(format!("line {number} of the manifest is cut"));
        }
        let Ok(line) = String::from_utf8(line) else { return broken(format!("line {number} of the manifest is no text")) };
        let line = line.trim_end_matches('\r');
        if let Some(comment) = line.strip_prefix('#') {
            size = comment.trim().strip_prefix("size ").and_then(|size| size.parse().ok()).or(size);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let Some(mut listed) = listed(line) else { return broken(format!("line {number} of the manifest is damaged")) };
        listed.size = size.take();
        files.push(listed);
    }
    if files.is_empty() { broken("the manifest lists nothing") } else { Ok(files) }
}

fn listed(line: &str) -> Option<Listed> {
    let (escaped, line) = line.strip_prefix('\\').map_or((false, line), |line| (true, line));
    let (digest, name) = line.split_at_checked(64)?;
    let name = name.strip_prefix("  ").or_else(|| name.strip_prefix(" *"))?;
    let name = if escaped { unescape(name)? } else { name.to_owned() };
    let name = Path::new(&name).strip_prefix("./").map_or_else(|_| PathBuf::from(&name), Path::to_owned);
    Some(Listed { name, digest: unhex(digest)?, size: None })
}

fn unescape(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            }),
            c => out.push(c),
        }
    }
    Some(out)
}

/// Whether a name stays below the manifest.
#[must_use]
pub fn is_plain(name: &Path) -> bool {
    name.components().all(|part| matches!(part, Component::Normal(_))) && name.components().next().is_some()
}

/// The manifest of a checkpoint that is a directory.
#[must_use]
pub fn find<'a>(tree: &'a Tree, unit: &str) -> Option<(&'a Node, Algorithm)> {
    NAMES.iter().find_map(|(name, algorithm)| {
        let path = Path::new(unit).join(name);
        tree.files.iter().find(|node| node.path == path).map(|node| (node, *algorithm))
    })
}

/// Checks a checkpoint against its manifest: names and sizes, and in depth the digests.
///
/// # Errors
/// Says which file is missing or differs.
pub fn check(
    dir: &Dir,
    tree: &Tree,
    manifest: (&Node, Algorithm),
    depth: Depth,
    read: &dyn Fn(u64),
    cache: Option<&Cache>,
) -> Checked {
    let (node, algorithm) = manifest;
    let listed = self::read(dir.open(&node.path, OFlag::O_RDONLY)?)?;
    let folder = node.path.parent().unwrap_or(Path::new(""));
    let mut here: HashMap<&Path, &Node> = tree.files.iter().map(|node| (node.path.as_path(), node)).collect();
    here.remove(node.path.as_path());
    let mut passed = Passed::default();
    for file in &listed {
        let shown = file.name.display();
        if !is_plain(&file.name) {
            return broken(format!("the manifest names a file outside: {shown}"));
        }
        let Some(node) = here.remove(folder.join(&file.name).as_path()) else {
            return broken(format!("{shown} is missing"));
        };
        if let Some(size) = file.size.filter(|size| *size != node.stat.len) {
            return broken(format!("{shown} has {} bytes, the manifest says {size}", node.stat.len));
        }
        if depth == Depth::Deep && digest(dir, node, algorithm, read, cache)? != file.digest {
            return broken(format!("{shown} doesn't match its digest"));
        }
    }
    if depth == Depth::Deep {
        passed.proof = Proof::Manifest;
    }
    let more: Vec<&&Path> = here.keys().filter(|path| path.file_name().is_some_and(|name| name != ".keep")).collect();
    Ok(if more.is_empty() { passed } else { passed.note(format!("{} files aren't in the manifest", more.len())) })
}

fn digest(dir: &Dir, node: &Node, algorithm: Algorithm, read: &dyn Fn(u64), cache: Option<&Cache>) -> Checked<Digest> {
    if let Some(digest) = cache.and_then(|cache| cache.get(algorithm, &node.stat)) {
        return Ok(digest);
    }
    let digest = of(dir.open(&node.path, OFlag::O_RDONLY)?, algorithm, read).map_err(|error| Fault::Unread(error.to_string()))?;
    if let Some(cache) = cache {
        cache.put(algorithm, &node.stat, digest);
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_manifest_reads_back(files in proptest::collection::vec(("[^/\u{0}]{1,20}", any::<[u8; 32]>(), any::<u64>()), 1..6)) {
            prop_assume!(files.iter().all(|(name, ..)| is_plain(Path::new(name))));
            let files: Vec<Listed> =
                files.into_iter().map(|(name, digest, size)| Listed { name: name.into(), digest, size: Some(size) }).collect();
            let text = write(&files);
            prop_assert_eq!(read(text.as_bytes()).unwrap(), files);
            prop_assert!(read(&text.as_bytes()[..text.len() - 1]).is_err(), "a cut manifest is no manifest");
        }
    }

    #[test]
    fn names_outside_are_no_names() {
        for name in ["../x", "/etc/passwd", "", "."] {
            assert!(!is_plain(Path::new(name)), "{name}");
        }
        assert!(is_plain(Path::new("a/b")));
    }
}
