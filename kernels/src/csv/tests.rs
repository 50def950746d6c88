//! Tests of the CSV reader: whatever the cut and the tile, the records are those of a plain reader.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("muster-csv-{}-{}.csv", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        TempFile(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn by_blocks(path: &Path, blocks: u64, tile: usize) -> Result<(Vec<Vec<String>>, Vec<u8>), Problems> {
    let table = Table::open(path, b',')?;
    let cuts = table.cuts(Grid::new(blocks))?;
    let (mut out, mut noted) = (Vec::new(), Vec::new());
    for block in 0..Grid::new(blocks).blocks() {
        table.block_records((&cuts, block), tile, &mut |b| noted.extend_from_slice(b), &mut |record| {
            out.push(
                (0..record.fields.len())
                    .map(|i| String::from_utf8_lossy(record.fields.get(i)).into())
                    .collect(),
            );
            Ok(())
        })?;
    }
    Ok((out, noted))
}

fn plainly(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new().from_reader(text);
    reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn quoted_line_breaks_and_crlf() {
    let text = b"a,b\r\n1,\"two\nlines, \"\"quoted\"\"\"\r\n\r\n\"x\r\ny\",4\r\n5,6";
    let file = TempFile::new(text);
    for blocks in 1..40 {
        for tile in [16, 17, 1000] {
            let (records, _) = by_blocks(&file.0, blocks, tile).unwrap();
            assert_eq!(records, plainly(text), "{blocks} blocks, tiles of {tile}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_name() {
    let file = TempFile::new(b"\xef\xbb\xbfa,b\n1,2\n");
    assert_eq!(Table::open(&file.0, b',').unwrap().header(), ["a", "b"]);
    assert_eq!(by_blocks(&file.0, 3, 16).unwrap().0, [["1", "2"]]);
}

#[test]
fn mistakes_are_named_with_their_line() {
    let ragged = TempFile::new(b"a,b\n1,2\n\"x\ny\",3\n4\n5,6\n");
    let error = by_blocks(&ragged.0, 2, 64).unwrap_err().to_string();
    assert!(error.contains(".csv:5: has 1 fields, and the header 2"), "{error}");
    let empty = TempFile::new(b"");
    assert!(Table::open(&empty.0, b',').err().unwrap().to_string().contains("is empty"));
    assert!(Table::open(Path::new("/nosuch"), b',').err().unwrap().to_string().contains("cannot be read"));
    assert!(Table::open(Path::new("/tmp"), b',').err().unwrap().to_string().contains("is not a file"));
    let table = Table::open(&ragged.0, b',').unwrap();
    assert!(table.column("B").unwrap_err().to_string().contains("the nearest is 'b'"));
}

#[test]
fn a_file_that_changes_is_refused() {
    let file = TempFile::new(b"a\n1\n2\n");
    let table = Table::open(&file.0, b',').unwrap();
    let cuts = table.cuts(Grid::new(1)).unwrap();
    std::fs::write(&file.0, b"a\n1\n2\n3\n").unwrap();
    let error = table.block_records((&cuts, 0), 64, &mut |_| {}, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");
}

#[test]
fn names_are_compared() {
    assert_eq!((distance("close", "Close"), distance("clsoe", "close"), distance("", "abc")), (0, 2, 3));
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{0,6}", "\"[a-z,\r\n]{0,5}(\"\")?[a-z\n]{0,3}\""]
}

proptest! {
    #[test]
    fn every_record_is_read_once(
        rows in prop::collection::vec((field(), "[x0-9]{1,4}"), 0..40),
        ends in prop::collection::vec(0usize..4, 40), last in any::<bool>(), blocks in 1u64..60, tile in 16usize..90,
    ) {
        let mut text = "k,v\n".to_owned();
        for ((a, b), end) in rows.iter().zip(&ends) {
            text += &format!("{a},{b}{}", ["\n", "\r\n", "\n\n", "\r\n\n"][*end]);
        }
        if last {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        let file = TempFile::new(text.as_bytes());
        let (records, noted) = by_blocks(&file.0, blocks, tile).unwrap();
        prop_assert_eq!(&records, &plainly(text.as_bytes()));
        let (_, whole) = by_blocks(&file.0, 1, 4096).unwrap();
        prop_assert_eq!(noted, whole, "the noted bytes do not depend on the cut");
    }
}
