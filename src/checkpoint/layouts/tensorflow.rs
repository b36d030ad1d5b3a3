//! TensorFlow: an index that ends in a table's footer, and all the data parts it counts.

use std::collections::BTreeMap;

use nix::fcntl::OFlag;

use super::super::dir::Dir;
use super::super::entry::numbered_of;
use super::super::formats::Source;
use super::super::tree::Tree;
use super::super::verdict::{Checked, broken};

/// The last eight bytes of a table.
const FOOTER: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];

/// Checks every index and its parts; says whether there are any.
///
/// # Errors
/// Says what is missing or cut.
pub fn check(dir: &Dir, tree: &Tree) -> Checked<bool> {
    let mut parts: BTreeMap<String, (u32, Vec<u32>)> = BTreeMap::new();
    for node in &tree.files {
        let Some((prefix, rest)) = node.path.to_str().and_then(|path| path.rsplit_once(".data-")) else { continue };
        let Some((number, total)) = numbered_of(rest) else { continue };
        let entry = parts.entry(prefix.to_owned()).or_insert((total, Vec::new()));
        if entry.0 != total {
            return broken("its data parts disagree on how many they are");
        }
        entry.1.push(number);
    }
    for (prefix, (total, numbers)) in &parts {
        if let Some(missing) = (0..*total).find(|number| !numbers.contains(number)) {
            return broken(format!("data part {missing} of {total} is missing"));
        }
        let index = format!("{prefix}.index");
        let Some(node) = tree.files.iter().find(|node| node.path.as_os_str() == index.as_str()) else {
            return broken("its index is missing");
        };
        let mut source = Source::new(dir.open(&node.path, OFlag::O_RDONLY)?, node.stat.len);
        source.seek(node.stat.len.saturating_sub(8))?;
        if source.array()? != FOOTER {
            return broken("its index is cut or damaged");
        }
    }
    let orphan = tree.files.iter().find(|node| {
        node.path
            .to_str()
            .and_then(|path| path.strip_suffix(".index"))
            .is_some_and(|prefix| prefix.contains("ckpt-") && !parts.contains_key(prefix))
    });
    if orphan.is_some() {
        return broken("its data parts are missing");
    }
    Ok(!parts.is_empty())
}
