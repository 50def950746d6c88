//! What NVRTC compiled, kept on disk: a start with a warm cache loads no compiler.
//!
//! Invariants: the name of an entry is the hash of all that its content depends on (source, options, architecture); an
//! entry appears whole or not at all, by rename; its first 32 bytes are the hash of the rest, and one that does not
//! match is compiled again. A cache that cannot be written costs time and nothing else.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of the hash before the code.
const HEAD: usize = 32;

/// The cache of this user: `$XDG_CACHE_HOME/muster/gpu`, else `~/.cache/muster/gpu`; none where neither is set.
pub(super) fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(cache.join("muster").join("gpu"))
}

/// The code for `source`, `options` and `arch`: from `folder`, else by `compile`, which is then kept there.
///
/// # Errors
/// Those of `compile`.
#[cfg_attr(not(feature = "gpu"), allow(dead_code))]
pub(super) fn code<E>(
    folder: Option<&Path>,
    (source, options, arch): (&str, &[&str], &str),
    compile: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut hasher = blake3::Hasher::new_derive_key("muster GPU code v1");
    for part in [source, &options.join("\n"), arch] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let path = folder.map(|folder| folder.join(format!("{}.cubin", hasher.finalize().to_hex())));
    if let Some(found) = path.as_deref().and_then(read) {
        return Ok(found);
    }
    let code = compile()?;
    if let Some(path) = path {
        // Whoever comes next compiles again.
        let _ = write(&path, &code);
    }
    Ok(code)
}

/// The code of an entry that is whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(path).ok()?;
    let code = bytes.get(HEAD..)?;
    let whole = !code.is_empty() && blake3::hash(code).as_bytes() == &bytes[..HEAD];
    whole.then(|| bytes.split_off(HEAD))
}

fn write(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().expect("an entry lies in a folder");
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(blake3::hash(code).as_bytes())?;
    file.write_all(code)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_is_kept_and_damage_is_mended() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        let mut compiled = 0;
        let mut ask = |key: (&str, &[&str], &str)| {
            let compile = || -> Result<Vec<u8>, ()> {
                compiled += 1;
                Ok(format!("code {compiled}").into_bytes())
            };
            String::from_utf8(code(Some(&folder), key, compile).unwrap()).unwrap()
        };
        assert_eq!(ask(("s", &["o"], "sm_90")), "code 1");
        assert_eq!(ask(("s", &["o"], "sm_90")), "code 1");
        assert_eq!(ask(("s", &["o"], "sm_80")), "code 2");
        assert_eq!(ask(("s", &["p"], "sm_90")), "code 3");
        assert_eq!(ask(("so", &[], "sm_90")), "code 4");
        let entry = |n: u8| {
            let is = |path: &PathBuf| std::fs::read(path).unwrap().ends_with(&[b'0' + n]);
            std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).find(is).unwrap()
        };
        let (first, mut bytes) = (entry(1), std::fs::read(entry(1)).unwrap());
        bytes[HEAD] ^= 1;
        std::fs::write(&first, &bytes).unwrap();
        assert_eq!(ask(("s", &["o"], "sm_90")), "code 5", "a damaged entry is compiled again");
        assert_eq!(ask(("s", &["o"], "sm_90")), "code 5");
        std::fs::write(entry(5), b"").unwrap();
        assert_eq!(ask(("s", &["o"], "sm_90")), "code 6", "an empty one, too");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4, "nothing is left beside the entries");
    }

    #[test]
    fn without_a_folder_everything_works() {
        let key: (&str, &[&str], &str) = ("s", &[], "sm_90");
        assert_eq!(code(None, key, || Ok::<_, ()>(vec![1])), Ok(vec![1]));
        assert_eq!(code(Some(Path::new("/dev/null/x")), key, || Ok::<_, ()>(vec![2])), Ok(vec![2]));
        assert_eq!(code(None, key, || Err::<Vec<u8>, _>("no")), Err("no"));
    }
}
