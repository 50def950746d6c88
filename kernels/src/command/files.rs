//! Files of runs: gathered from a run's own folder, and written as a whole or not at all where the answer goes.

use super::partial::Blob;
use glob::{MatchOptions, Pattern};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A pattern's star stops at a slash; two stars do not.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The files under `folder` whose relative names match, by name, while they have at most `limit` bytes together;
/// `None` when they have more.
///
/// # Errors
/// The operating system's, and names that are not UTF-8.
pub(super) fn gather(folder: &Path, pattern: &Pattern, limit: u64) -> Result<Option<BTreeMap<String, Blob>>> {
    let mut found = BTreeMap::new();
    let mut left = limit;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            let name = path.strip_prefix(folder).expect("the walk stays in its folder").to_str();
            let odd = || Error::new(ErrorKind::InvalidData, format!("{} is not UTF-8", path.display()));
            let name = name.ok_or_else(odd)?;
            if kind.is_file() && pattern.matches_with(name, MATCHING) {
                let size = entry.metadata()?.len();
                let Some(rest) = left.checked_sub(size) else { return Ok(None) };
                left = rest;
                found.insert(name.to_owned(), Blob(std::fs::read(&path)?));
            }
        }
    }
    Ok(Some(found))
}

/// Whether `folder` can take the files of an answer: it is not there, or empty, or holds these very files.
pub(super) fn is_free(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return !folder.exists() };
    if entries.count() == 0 {
        return true;
    }
    let all = Pattern::new("**").expect("two stars are a pattern");
    let there = gather(folder, &all, u64::MAX).ok().flatten().unwrap_or_default();
    there.len() == files.len()
        && there.iter().zip(files).all(|((name, blob), (wanted, bytes))| name == wanted && blob.0 == *bytes)
}

/// Writes `files` into the new folder `folder`: beside it first, then renamed.
///
/// # Errors
/// The operating system's; nothing is left behind then.
pub(super) fn write_folder(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let beside = hidden().permissions(Permissions::from_mode(0o777)).tempdir_in(parent(folder))?;
    for (name, bytes) in files {
        let path = beside.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
        let mut file = std::fs::File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_data()?;
    }
    if is_free(folder, files) && folder.exists() && std::fs::read_dir(folder)?.next().is_some() {
        // A team that was lost after it had written, and before it had told.
        return Ok(());
    }
    // Replaces an empty folder, and nothing else.
    std::fs::rename(beside.path(), folder)?;
    let _ = beside.keep();
    Ok(())
}

/// Writes a file as a whole or not at all; a device or a pipe is written to.
///
/// # Errors
/// The operating system's; nothing is left behind then.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut file = hidden().permissions(Permissions::from_mode(0o666)).tempfile_in(parent(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

/// Whether something can be written beside `path`.
///
/// # Errors
/// Why not.
pub(super) fn probe(path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        return Ok(());
    }
    hidden().tempfile_in(parent(path)).map(drop)
}

/// What is being written lies beside its place under another name.
fn hidden() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".muster-out-");
    builder
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn files_that_match_are_gathered() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("deep")).unwrap();
        for name in ["a.csv", "b.log", "deep/c.csv"] {
            std::fs::write(scratch.path().join(name), name).unwrap();
        }
        let names = |pattern: &str, limit| {
            let found = gather(scratch.path(), &Pattern::new(pattern).unwrap(), limit).unwrap();
            found.map(|found| found.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(names("*.csv", 100).unwrap(), ["a.csv"]);
        assert_eq!(names("**/*.csv", 100).unwrap(), ["a.csv", "deep/c.csv"]);
        assert_eq!(names("**/*.csv", 15).unwrap().len(), 2);
        assert_eq!(names("**/*.csv", 14), None, "more than the limit");
    }

    #[test]
    fn a_folder_is_written_whole_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        let wanted = files(&[("a", "1"), ("deep/b", "2")]);
        assert!(is_free(&out, &wanted));
        write_folder(&out, &wanted).unwrap();
        assert_eq!(std::fs::read(out.join("deep/b")).unwrap(), b"2");
        assert!(is_free(&out, &wanted) && !is_free(&out, &files(&[("a", "1")])));
        write_folder(&out, &wanted).unwrap();
        assert!(write_folder(&out, &files(&[("a", "other")])).is_err(), "nothing is overwritten");
        assert_eq!(std::fs::read(out.join("a")).unwrap(), b"1");
        assert!(write_folder(&scratch.path().join("nosuch/out"), &wanted).is_err());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("x");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert!(write_file(Path::new("/dev/full"), b"x").is_err());
        write_file(Path::new("/dev/null"), b"x").unwrap();
        assert!(probe(&scratch.path().join("nosuch/x")).is_err() && probe(&path).is_ok());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing else is left");
    }
}
