//! `make install` and `make uninstall`, into a folder that stands for the root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::run::bin_dir;
use crate::support::{Project, Run, root, scratch, tool};

fn make(target: &str, dest: &Path) -> Run {
    let run = Run::new("make").cwd(root()).args([target, "PREFIX=/usr"]);
    run.arg(format!("DESTDIR={}", dest.display())).env("BGTOOLS_BIN", bin_dir())
}

/// The files below a folder, by their path in it.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path.strip_prefix(dir).unwrap().to_owned()) }
        }
    }
    found.sort();
    found
}

fn names(dir: &str) -> Vec<String> {
    let names = files(&root().join(dir)).into_iter().map(|path| path.to_str().unwrap().to_owned());
    names.filter(|name| !name.contains("__pycache__")).collect()
}

/// Everything that belongs on a machine, by the repository's own folders.
pub fn expected() -> Vec<PathBuf> {
    let tools = names("src/bin").into_iter().map(|name| format!("bin/{}", name.trim_end_matches(".rs")));
    let pages = names("man").into_iter().map(|name| format!("share/man/man{}/{name}", name.rsplit('.').next().unwrap()));
    let completions = names("completions").into_iter().map(|name| match name.rsplit_once('.') {
        Some((tool, "bash")) => format!("share/bash-completion/completions/{tool}"),
        Some((_, "fish")) => format!("share/fish/vendor_completions.d/{name}"),
        _ => format!("share/zsh/site-functions/{name}"),
    });
    let contrib = names("contrib").into_iter().map(|name| format!("share/bgtools/{name}"));
    let example = names("examples/auto-pipeline").into_iter().map(|name| format!("share/bgtools/examples/auto-pipeline/{name}"));
    let others = ["bgtools/swap-extend", "doc/bgtools/README.md", "doc/bgtools/changelog"].map(|path| format!("share/{path}"));
    let all = tools.chain(pages).chain(completions).chain(contrib).chain(example).chain(others);
    let mut all: Vec<PathBuf> = all.map(|path| Path::new("usr").join(path)).collect();
    all.sort();
    all
}

#[test]
fn install_and_uninstall_are_each_others_inverse() {
    let scratch = scratch();
    let dest = scratch.path().join("a dest");
    make("install", &dest).ok();
    assert_eq!(files(&dest), expected());
    for file in files(&dest) {
        let mode = fs::metadata(dest.join(&file)).unwrap().permissions().mode() & 0o777;
        let source = file.strip_prefix("usr/share/bgtools").map(|path| root().join("contrib").join(path));
        let script = source.is_ok_and(|source| fs::metadata(source).is_ok_and(|meta| meta.permissions().mode() & 0o100 != 0));
        let runs = file.starts_with("usr/bin") || file.ends_with("swap-extend") || script;
        assert_eq!(mode, if runs { 0o755 } else { 0o644 }, "{}", file.display());
    }
    // They name each other where they are now.
    let service = fs::read_to_string(dest.join("usr/share/bgtools/examples/auto-pipeline/auto-pipeline.service")).unwrap();
    assert!(service.contains(" /usr/share/bgtools/examples/auto-pipeline/run.py "), "{service}");
    let version = Run::new(dest.join("usr/bin/bgrun")).arg("--version").ok();
    assert_eq!(version, tool("bgrun").arg("--version").ok());

    // Again, over what is there, with a file of somebody else's beside.
    let stranger = dest.join("usr/share/man/man1/stranger.1");
    fs::create_dir_all(stranger.parent().unwrap()).unwrap();
    fs::write(&stranger, "").unwrap();
    make("install", &dest).ok();
    make("uninstall", &dest).ok();
    assert_eq!(files(&dest), [stranger.strip_prefix(&dest).unwrap()]);
    assert!(
        !dest.join("usr/share/bgtools").exists() && !dest.join("usr/share/doc/bgtools").exists() && dest.join("usr/bin").is_dir()
    );
    make("uninstall", &dest).ok();
}

#[test]
fn an_installed_bg_mk_serves_any_project() {
    let project = Project::empty("project");
    let dest = project.path().join("dest");
    make("install", &dest).ok();
    let makefile = "include dest/usr/share/bgtools/bg.mk\nheavy:\n\t@. dest/usr/share/bgtools/guard.sh; echo did it\n";
    fs::write(project.path().join("Makefile"), makefile).unwrap();
    let path = format!("{}:/usr/bin:/bin", dest.join("usr/bin").display());
    project.make(["heavy"]).fails(2, &["through the dispatcher"]);
    let id = project.make(["-s", "heavy-bg"]).env("PATH", path).ok();
    assert_eq!(project.log_of(id.trim()), "did it\n");
}
