//! The program that the runs start, and the files that the job depends on.

use crate::kernel::Input;
use muster_spec::command::CommandSpec;
use muster_spec::{Problem, Problems};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The path of the program: as the first word says it, seen from `folder`, or by PATH.
///
/// # Errors
/// When there is none, or it may not be started.
pub(super) fn find(word: &str, folder: &Path) -> Result<PathBuf, Problem> {
    let wrong = |what: String| Problem::new("PROGRAM", what);
    let here = folder.join(word);
    if word.contains('/') {
        return match std::fs::metadata(&here) {
            Err(why) => Err(wrong(format!("cannot find {}: {why}", here.display()))),
            Ok(meta) if meta.is_dir() => Err(wrong(format!("{} is a folder", here.display()))),
            Ok(_) if !may_run(&here) => Err(wrong(format!("{} may not be executed", here.display()))
                .hint(format!("chmod +x {word}, or name its interpreter: -- python3 {word}"))),
            Ok(_) => Ok(here),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = folders.iter().map(|dir| folder.join(dir).join(word)).find(|path| may_run(path));
    found.ok_or_else(|| {
        let problem = wrong(format!("there is no program '{word}' in the {} folders of PATH", folders.len()));
        if here.is_file() {
            return problem.hint(format!("{} is there: ./{word} names it", here.display()));
        }
        problem.hint(format!("PATH is {}", path.to_string_lossy()))
    })
}

fn may_run(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The files that the job depends on, as far as its words tell: the program, words that name a file, and those that
/// the user names. Each once, in this order.
///
/// # Errors
/// The named files that cannot be looked at.
pub(super) fn inputs(spec: &CommandSpec, program: &Path, folder: &Path) -> Result<Vec<Input>, Problems> {
    let mut seen = BTreeSet::new();
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    let words = spec.words.iter().skip(1).map(|word| folder.join(word)).filter(|path| path.is_file());
    let implied = [program.to_owned()].into_iter().chain(words);
    let named = spec.inputs.iter().map(|input| input.path().to_owned());
    for (path, must) in implied.map(|path| (path, false)).chain(named.map(|path| (path, true))) {
        if !seen.insert(path.clone()) {
            continue;
        }
        match Input::of(&path) {
            Ok(input) => out.push(input),
            Err(why) if must => {
                problems.push(Problem::new("--input", format!("cannot read {}: {why}", path.display())));
            }
            Err(_) => {}
        }
    }
    Problems::check(problems).map(|()| out)
}
