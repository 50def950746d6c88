//! Whatever the cut, the tile and the packing, the rows are those of a plain reader.

use super::text::TextFile;
use super::*;
use crate::Simd;
use crate::files::PlainFile;
use muster_spec::quantity::InputPath;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn spec(files: &[PathBuf]) -> TableSpec {
    TableSpec {
        files: files.iter().map(|f| InputPath(f.clone())).collect(),
        delimiter: ',',
        ..TableSpec::default()
    }
}

fn file(dir: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn fields(path: &Path, blocks: u64, tile: usize) -> Result<Vec<Vec<String>>, Problems> {
    let mut file = TextFile::open(PlainFile::open(path)?, &spec(&[path.to_owned()]))?;
    file.cut(Grid::new(blocks))?;
    file.fields(tile)
}

fn plainly(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new().from_reader(text);
    reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// All rows of some columns as text, `-` for what is missing.
fn rows(spec: &TableSpec, wanted: &[&str]) -> Result<Vec<String>, Problems> {
    let spec = Table::resolve(spec.clone())?;
    let table = Table::open(&spec)?;
    let wanted: Vec<usize> =
        wanted.iter().map(|name| table.column("--columns", name)).collect::<Result<_, _>>()?;
    let mut out = Vec::new();
    for block in 0..table.grid().blocks() {
        let mut cx = Fold::new(Simd::all()[0], 1 << 20);
        table.scan(block, &wanted, &mut cx, &mut |batch| {
            for row in 0..batch.rows {
                let show = |(column, &at): (&Column, &usize)| match column.values {
                    _ if column.valid.is_some_and(|valid| !valid[row]) => "-".to_owned(),
                    Values::Int(x) => value::show(table.columns()[at].kind, x[row]),
                    Values::Float(x) => x[row].to_string(),
                    Values::Text(codes, words) => String::from_utf8_lossy(words.get(codes[row])).into_owned(),
                };
                out.push(batch.columns.iter().zip(&wanted).map(show).collect::<Vec<_>>().join("|"));
            }
            Ok(())
        })?;
    }
    Ok(out)
}

fn said(result: Result<Vec<String>, Problems>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn quoted_line_breaks_and_crlf() {
    let dir = tempfile::tempdir().unwrap();
    let text = b"a,b\r\n1,\"two\nlines, \"\"quoted\"\"\"\r\n\r\n\"x\r\ny\",4\r\n5,6";
    let path = file(dir.path(), "q.csv", text);
    for blocks in 1..40 {
        for tile in [64, 70, 1000] {
            assert_eq!(
                fields(&path, blocks, tile).unwrap(),
                plainly(text),
                "{blocks} blocks, tiles of {tile}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_cut_gives_the_records_of_a_plain_reader(
        records in prop::collection::vec(
            ("[a-c]{0,4}|\"([a-c,\n]|\"\"){0,12}\"", "[0-9]{1,3}", "\"[a-b]{0,2}\"|[x-z]"), 1..40),
        crlf in any::<bool>(), last in any::<bool>(), blocks in 1u64..60, tile in 64usize..900,
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let lines: Vec<String> = records.iter().map(|(a, b, c)| format!("{a},{b},{c}")).collect();
        let mut text = format!("one,two,three{end}{}", lines.join(end));
        if last {
            text += end;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "p.csv", text.as_bytes());
        prop_assert_eq!(fields(&path, blocks, tile).unwrap(), plainly(text.as_bytes()));
    }
}

#[test]
fn types_are_inferred_once_and_a_later_misfit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = "i,f,t,when,none\n".to_owned();
    for i in 0..2000 {
        text += &format!("{i},{}.5,w{},2026-01-02T03:04:0{},\n", i, i % 3, i % 10);
    }
    let good = file(dir.path(), "good.csv", text.as_bytes());
    let resolved = Table::resolve(spec(std::slice::from_ref(&good))).unwrap();
    let kinds: Vec<String> = resolved.schema.iter().map(|c| c.kind.to_string()).collect();
    assert_eq!(kinds, ["int", "float", "text", "timestamp", "text"]);
    let all = rows(&spec(&[good]), &["t", "i", "when", "none", "f"]).unwrap();
    assert_eq!((all.len(), &all[11][..]), (2000, "w2|11|2026-01-02T03:04:01Z|-|11.5"));
    for (last, wanted) in [
        (
            "1.5,1,a,2026-01-01,",
            "bad.csv:2002: column 'i' holds '1.5', which is not a whole number (--missing '1.5' counts it as missing; --types 'i=float'",
        ),
        ("9223372036854775808,1,a,2026-01-01,", "does not fit into 64 bits"),
        ("1,nan,a,2026-01-01,", "'nan', which is not a finite number"),
        ("1,1,a,yesterday,", "which is not a timestamp"),
        ("1,1,a", "bad.csv:2002: has 3 fields, and the header 5"),
        ("1,1,a\"b,2026-01-01,", "bad.csv:2002: a quote stands inside a field"),
        ("1,1,\"a,2026-01-01,", "bad.csv:2002: a quoted field is never closed"),
    ] {
        let bad = file(dir.path(), "bad.csv", format!("{text}{last}\n").as_bytes());
        let said = said(rows(&spec(&[bad]), &["i", "f", "t", "when"]));
        assert!(said.contains(wanted), "{last}: {said}");
    }
    let bad = file(dir.path(), "bad.csv", format!("{text}NA,-,a\"b,2026-01-01,\n").as_bytes());
    let lenient = TableSpec {
        no_quotes: true,
        missing: vec!["NA".into(), "-".into()],
        types: vec!["i=decimal(1)".parse().unwrap()],
        ..spec(&[bad])
    };
    assert_eq!(rows(&lenient, &["i", "f", "t"]).unwrap()[1999..], ["1999.0|1999.5|w1", "-|-|a\"b"]);
}

#[test]
fn empty_texts_differ_from_missing_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "e.csv", b"a,b\n\"\",1\n,2\n\"x\"\"y\",\"3\"\n");
    assert_eq!(rows(&spec(&[path]), &["a", "b"]).unwrap(), ["|1", "-|2", "x\"y|3"]);
}

/// Writes Parquet: row groups of `group` rows.
fn parquet(path: &Path, columns: Vec<(&str, arrow_array::ArrayRef)>, group: usize) {
    let batch = arrow_array::RecordBatch::try_from_iter(columns).unwrap();
    let properties = ::parquet::file::properties::WriterProperties::builder()
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .set_max_row_group_row_count(Some(group))
        .build();
    let out = std::fs::File::create(path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(out, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A column of every type that can be read, of `n` values each.
fn every_type(n: usize) -> Vec<(&'static str, arrow_array::ArrayRef)> {
    use arrow_array::*;
    use std::sync::Arc;
    vec![
        ("i8", Arc::new(Int8Array::from_iter((0..n).map(|i| (i % 7 != 0).then_some((i % 100) as i8))))),
        ("u32", Arc::new(UInt32Array::from_iter_values((0..n).map(|i| i as u32 + (1 << 31))))),
        ("u64", Arc::new(UInt64Array::from_iter_values((0..n).map(|i| i as u64)))),
        (
            "f32",
            Arc::new(Float32Array::from_iter_values(
                (0..n).map(|i| if i == 5 { f32::NAN } else { i as f32 / 2.0 }),
            )),
        ),
        ("f64", Arc::new(Float64Array::from_iter_values((0..n).map(|i| i as f64 / 8.0)))),
        ("bool", Arc::new(BooleanArray::from_iter((0..n).map(|i| Some(i % 2 == 0))))),
        ("day", Arc::new(Date32Array::from_iter_values((0..n).map(|i| i as i32)))),
        ("ns", Arc::new(TimestampNanosecondArray::from_iter_values((0..n).map(|i| i as i64 * 1000 - 1)))),
        (
            "money",
            Arc::new(
                Decimal128Array::from_iter_values((0..n).map(|i| i as i128))
                    .with_precision_and_scale(30, 2)
                    .unwrap(),
            ),
        ),
        (
            "few",
            Arc::new(StringArray::from_iter((0..n).map(|i| (i % 5 != 0).then(|| format!("w{}", i % 3))))),
        ),
        ("many", Arc::new(LargeStringArray::from_iter_values((0..n).map(|i| format!("text {i}"))))),
        ("raw", Arc::new(BinaryArray::from_iter_values((0..n).map(|_| b"x")))),
    ]
}

#[test]
fn parquet_columns_of_every_type() {
    let n = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    parquet(&path, every_type(n), 3000);
    let names = ["many", "i8", "u32", "u64", "f32", "f64", "bool", "day", "ns", "money", "few"];
    let all = rows(&spec(std::slice::from_ref(&path)), &names).unwrap();
    assert_eq!(all.len(), n);
    assert_eq!(
        all[0],
        "text 0|-|2147483648|0|0|0|true|1970-01-01T00:00:00Z|1969-12-31T23:59:59.999999Z|0.00|-"
    );
    assert_eq!(
        all[5],
        "text 5|5|2147483653|5|-|0.625|false|1970-01-06T00:00:00Z|1970-01-01T00:00:00.000004Z|0.05|-"
    );
    assert_eq!(
        all[9998],
        "text 9998|98|2147493646|9998|4999|1249.75|true|1997-05-17T00:00:00Z|1970-01-01T00:00:00.009997Z|99.98|w2"
    );
    let whole = std::fs::read(&path).unwrap();
    for cut in [5, whole.len() / 2, whole.len() - 1] {
        let cut = file(dir.path(), "cut.parquet", &whole[..cut]);
        let wrong = said(rows(&spec(&[cut]), &["i8"]));
        assert!(
            wrong.contains("cut.parquet") && wrong.contains("is damaged or cut off as Parquet"),
            "{wrong}"
        );
    }
    let mut broken = whole.clone();
    broken[4..60].fill(0xff);
    let broken = file(dir.path(), "broken.parquet", &broken);
    let wrong = said(rows(&spec(&[broken]), &names));
    assert!(wrong.contains("broken.parquet, row group 0: is damaged"), "{wrong}");
}

#[test]
fn parquet_numbers_that_no_column_holds() {
    use arrow_array::{ArrayRef, Float64Array, UInt64Array};
    use std::sync::Arc;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    for (bad, wanted) in [
        (Arc::new(UInt64Array::from(vec![u64::MAX])) as ArrayRef, "does not fit into 64 bits with a sign"),
        (Arc::new(Float64Array::from(vec![f64::INFINITY])), "holds an infinity"),
    ] {
        parquet(&path, vec![("x", bad)], 10);
        let wrong = said(rows(&spec(std::slice::from_ref(&path)), &["x"]));
        assert!(wrong.contains("column 'x'") && wrong.contains(wanted), "{wrong}");
    }
}

#[test]
fn a_table_of_several_files_has_one_header() {
    let dir = tempfile::tempdir().unwrap();
    let one = file(dir.path(), "1.csv", b"a,b\n1,2\n");
    let two = file(dir.path(), "2.csv", &zstd::encode_all(&b"a,b\n3,4\n5,6\n"[..], 1).unwrap());
    let both = spec(&[dir.path().join("*.csv")]);
    assert_eq!(rows(&both, &["b"]).unwrap(), ["2", "4", "6"]);
    let other = file(dir.path(), "3.csv", b"a,c\n1,2\n");
    let wrong = said(rows(&spec(&[one.clone(), two, other]), &["b"]));
    assert!(wrong.contains("3.csv:1: column 2 is 'c', and 'b' in the first file"), "{wrong}");
    let wrong = said(rows(&spec(&[one]), &["bb"]));
    assert!(wrong.contains("there is no column 'bb' (the nearest is 'b')"), "{wrong}");
    for (text, wanted) in [("", "is empty"), ("\n", "holds no header line")] {
        let path = file(dir.path(), "none.csv", text.as_bytes());
        let wrong = said(rows(&spec(&[path]), &["a"]));
        assert!(wrong.contains(wanted), "{wrong}");
    }
}
