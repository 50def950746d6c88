//! Files that are packed, missing, cut off or changed.

use super::*;
use std::io::Write;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// The whole content of a file.
fn content(path: &Path) -> Result<Vec<u8>, Problem> {
    let file = PlainFile::open(path)?;
    let mut all = vec![0; file.bytes() as usize];
    assert_eq!(file.read_at(&mut all, 0).unwrap(), all.len());
    Ok(all)
}

#[test]
fn packed_and_plain_files_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    let text: Vec<u8> = (0..200_000u32).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    let half = text.len() / 2;
    // Files of several members or frames, as `cat a.gz b.gz` makes them.
    let two_gz = [gz(&text[..half]), gz(&text[half..])].concat();
    let pack = |part: &[u8]| zstd::encode_all(part, 1).unwrap();
    let two_zst = [pack(&text[..half]), pack(&text[half..])].concat();
    for (name, bytes) in [("plain", text.clone()), ("x.gz", two_gz), ("named.txt", two_zst)] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        for _ in 0..2 {
            assert!(content(&path).unwrap() == text, "{name}");
        }
        let file = PlainFile::open(&path).unwrap();
        assert_eq!(file.place(11), format!("{}:6", path.display()));
        assert!(file.check_unchanged().is_ok());
        std::fs::write(&path, "other").unwrap();
        assert!(file.check_unchanged().unwrap_err().to_string().contains("has changed"));
        assert_eq!(content(&path).unwrap(), b"other");
    }
}

#[test]
fn damaged_files_are_named_with_how_far_they_were_read() {
    let dir = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (name, whole) in [("cut.gz", gz(&noise)), ("cut.zst", zstd::encode_all(&noise[..], 1).unwrap())] {
        let path = dir.path().join(name);
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let said = content(&path).unwrap_err().to_string();
        assert!(said.contains(name) && said.contains("damaged or cut off"), "{said}");
        assert!(said.contains(&format!("of {} bytes", whole.len() / 2)), "{said}");
    }
}

#[test]
fn patterns_find_files_in_order_and_name_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| InputPath(dir.path().join(name));
    std::fs::create_dir_all(dir.path().join("sub/deep")).unwrap();
    for name in ["b.log", "a.log", "sub/c.log", "sub/deep/d.log", "odd[1].log"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let names = |patterns: &[InputPath]| -> Vec<String> {
        let found = find(patterns).unwrap();
        found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
    };
    assert_eq!(names(&[at("?.log"), at("a.log")]), ["a.log", "b.log"]);
    assert_eq!(names(&[at("**/[c-d].log")]), ["sub/c.log", "sub/deep/d.log"]);
    assert_eq!(names(&[at("odd[1].log")]), ["odd[1].log"]);
    let said = find(&[at("*"), at("none*"), at("gone.log"), at("x[")]).unwrap_err().to_string();
    for wanted in
        ["sub: is a folder", "none*: matches no file", "gone.log: cannot be read", "x[: is no pattern"]
    {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
