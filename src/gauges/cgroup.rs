//! The control groups this process is in, its own first, then every one around it that can be seen.
//!
//! Where a group lies is its path in `/proc/self/cgroup` seen through the mount in `/proc/self/mountinfo`: in a
//! container the mount shows a part of the tree, and the path may begin above it.

use std::path::{Path, PathBuf};

use super::{Gauge, text, text_if_any};

/// One tree of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Version 2: one tree for all controllers.
    Unified,
    /// Version 1: the tree of one controller.
    Legacy(&'static str),
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its directory.
    pub dir: PathBuf,
    /// Its path as `/proc/PID/cgroup` has it.
    pub path: String,
}

/// This process's group in a tree and those around it; empty where there is no such tree.
///
/// # Errors
/// When the kernel's lists can't be read.
pub fn own(tree: Tree) -> Gauge<Vec<Group>> {
    let Some(membership) = text_if_any("/proc/self/cgroup")? else { return Ok(Vec::new()) };
    let Some(path) = path_in(&membership, tree) else { return Ok(Vec::new()) };
    Ok(around(&text("/proc/self/mountinfo")?, tree, &path))
}

/// The group at a path of a tree and those around it; empty where it can't be seen from here.
#[must_use]
pub fn at(tree: Tree, path: &str) -> Vec<Group> {
    let groups = std::fs::read_to_string("/proc/self/mountinfo").map(|mounts| around(&mounts, tree, path)).unwrap_or_default();
    if groups.first().is_some_and(|group| group.path == path) { groups } else { Vec::new() }
}

/// The group of a tree that process `pid` is in; `None` when it is gone or hidden.
#[must_use]
pub fn path_of(pid: i32, tree: Tree) -> Option<String> {
    path_in(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?, tree)
}

/// Whether the group at `path` is `ancestor` or lies in it.
#[must_use]
pub fn lies_in(path: &str, ancestor: &str) -> bool {
    let ancestor = ancestor.trim_end_matches('/');
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn path_in(membership: &str, tree: Tree) -> Option<String> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let here = match tree {
            Tree::Unified => id == "0" && controllers.is_empty(),
            Tree::Legacy(name) => controllers.split(',').any(|controller| controller == name),
        };
        here.then(|| path.to_owned())
    })
}

fn around(mountinfo: &str, tree: Tree, path: &str) -> Vec<Group> {
    let mounts: Vec<(String, PathBuf)> = mountinfo.lines().filter_map(|line| mount(line, tree)).collect();
    // A bind mount may show another part of the tree: the one that shows this process's group is meant.
    let Some((root, point)) = mounts.iter().find(|(root, _)| lies_in(path, root)).or(mounts.first()) else {
        return Vec::new();
    };
    if !lies_in(path, root) || path.contains("/..") {
        return vec![Group { dir: point.clone(), path: root.clone() }];
    }
    let inside = &path[root.trim_end_matches('/').len()..];
    let inner = Path::new(inside.trim_matches('/'));
    let outer = Path::new(root);
    inner.ancestors().map(|part| Group { dir: joined(point, part), path: joined(outer, part).display().to_string() }).collect()
}

/// `Path::join`, without the slash that an empty part leaves.
fn joined(base: &Path, part: &Path) -> PathBuf {
    if part.as_os_str().is_empty() { base.to_owned() } else { base.join(part) }
}

/// The root and the place of a mount of this tree; `proc_pid_mountinfo(5)`.
fn mount(line: &str, tree: Tree) -> Option<(String, PathBuf)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut fields = file_system.split(' ');
    let (kind, options) = (fields.next()?, fields.nth(1)?);
    let wanted = match tree {
        Tree::Unified => kind == "cgroup2",
        Tree::Legacy(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
    };
    wanted.then(|| (unescaped(root), PathBuf::from(unescaped(point))))
}

/// The kernel writes blanks and backslashes in a path as three octal digits.
fn unescaped(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";

    fn dirs(mountinfo: &str, tree: Tree, path: &str) -> Vec<String> {
        around(mountinfo, tree, path).iter().map(|group| format!("{} {}", group.dir.display(), group.path)).collect()
    }

    #[test]
    fn every_group_around_is_listed_from_the_inside() {
        assert_eq!(
            dirs(V2, Tree::Unified, "/user.slice/a b"),
            ["/sys/fs/cgroup/user.slice/a b /user.slice/a b", "/sys/fs/cgroup/user.slice /user.slice", "/sys/fs/cgroup /",]
        );
        assert_eq!(dirs(V2, Tree::Unified, "/"), ["/sys/fs/cgroup /"]);
    }

    #[test]
    fn a_container_sees_its_part_of_the_tree() {
        let v1 = "40 31 0:35 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        assert_eq!(dirs(v1, Tree::Legacy("memory"), "/docker/c1"), ["/sys/fs/cgroup/memory /docker/c1"]);
        assert_eq!(
            dirs(v1, Tree::Legacy("memory"), "/docker/c1/job"),
            ["/sys/fs/cgroup/memory/job /docker/c1/job", "/sys/fs/cgroup/memory /docker/c1"]
        );
        assert_eq!(dirs(v1, Tree::Legacy("cpu"), "/docker/c1"), Vec::<String>::new());
        assert_eq!(dirs(V2, Tree::Unified, "/../other"), ["/sys/fs/cgroup /"]);
    }

    #[test]
    fn the_group_of_a_tree_is_found_in_the_list() {
        let list = "12:cpu,cpuacct:/a\n4:memory:/b:c\n0::/d\n";
        let paths = [Tree::Legacy("cpuacct"), Tree::Legacy("memory"), Tree::Unified, Tree::Legacy("pids")];
        assert_eq!(paths.map(|tree| path_in(list, tree)), [Some("/a".into()), Some("/b:c".into()), Some("/d".into()), None]);
    }

    #[test]
    fn a_group_lies_in_itself_and_its_ancestors_only() {
        assert!(lies_in("/a/b", "/a") && lies_in("/a", "/a") && lies_in("/a", "/"));
        assert!(!lies_in("/ab", "/a") && !lies_in("/a", "/a/b"));
    }
}
