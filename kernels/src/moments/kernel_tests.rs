//! Tests of the kernel: files with every kind of mistake, tiles, and generated numbers.

use super::*;
use crate::simd::Simd;
use muster_spec::quantity::{Count, InputPath};
use muster_spec::table::TableSpec;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("muster-moments-{}-{}.csv", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        TempFile(path)
    }

    fn spec(&self) -> MomentsSpec {
        let files = vec![InputPath(self.0.clone())];
        let table = TableSpec { files, delimiter: ',', ..TableSpec::default() };
        MomentsSpec { table, generate: None, ..generate(Distribution::Normal, 1) }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn generate(distribution: Distribution, count: u64) -> MomentsSpec {
    MomentsSpec {
        table: TableSpec { delimiter: ',', ..TableSpec::default() },
        columns: Vec::new(),
        generate: Some(Generate { distribution, count: Count(count) }),
        seed: 1,
    }
}

fn answer(spec: MomentsSpec, simd: Simd, tile_bytes: usize) -> Result<MomentsAnswer, Problems> {
    let kernel = Moments::prepare(&Moments::resolve(spec)?)?;
    let fold = |block| kernel.fold(block, &mut Fold::new(simd, tile_bytes));
    let mut root = fold(0)?;
    for block in 1..kernel.grid().blocks() {
        root = root.merge(fold(block)?);
    }
    kernel.finish(root)
}

fn best() -> Simd {
    Simd::all()[0]
}

#[test]
fn generated_numbers_have_the_moments_of_their_distribution() {
    let n = 1_000_000.0f64;
    let normal = &answer(generate(Distribution::Normal, 1_000_000), best(), 1 << 20).unwrap().columns[0];
    assert!(normal.mean.unwrap().abs() < 4.0 / n.sqrt());
    assert!((normal.variance.unwrap() - 1.0).abs() < 4.0 * (2.0 / n).sqrt());
    assert!(normal.skewness.unwrap().abs() < 4.0 * (6.0 / n).sqrt());
    assert!(normal.kurtosis.unwrap().abs() < 4.0 * (24.0 / n).sqrt());
    let uniform = &answer(generate(Distribution::Uniform, 1_000_001), best(), 1 << 20).unwrap().columns[0];
    assert_eq!(uniform.count, 1_000_001);
    assert!((uniform.mean.unwrap() - 0.5).abs() < 4.0 * (1.0 / 12.0 / n).sqrt());
    assert!((uniform.kurtosis.unwrap() + 1.2).abs() < 0.02);
    assert!(uniform.min.unwrap() > 0.0 && uniform.max.unwrap() < 1.0);
}

#[test]
fn number_i_depends_on_seed_and_i_alone() {
    let numbers = |start: u64, n: usize| {
        let mut out = vec![0.0; n];
        let (distribution, rng) = (Distribution::Normal, Philox::new(9));
        best().run(Numbers { distribution, rng, start, out: &mut out });
        out
    };
    assert_eq!(numbers(0, 9000)[4096..8192], numbers(4096, 4096));
}

#[test]
fn tiles_and_levels_change_no_bit() {
    let mut text = "day,a,\"b, quoted\"\n".to_owned();
    for i in 0..20_000 {
        let b = if i % 7 == 0 { "NA".into() } else { format!("\"{}\"", i % 13) };
        text += &format!("d{i},{}.25,{b}\n", i * 37 % 1001);
    }
    let file = TempFile::new(&text);
    let spec = || {
        let mut spec = file.spec();
        spec.table.missing = vec!["NA".into()];
        spec
    };
    let first = answer(spec(), best(), 1 << 20).unwrap();
    assert_eq!(first.left_out, ["day"]);
    assert_eq!((first.columns[1].count, first.columns[1].missing), (17_142, 2_858));
    let a: Vec<f64> = (0..20_000).map(|i| f64::from(i * 37 % 1001) + 0.25).collect();
    let mean = a.iter().sum::<f64>() / 20_000.0;
    assert!((first.columns[0].mean.unwrap() - mean).abs() < 1e-9);
    for simd in Simd::all() {
        for tile in [64, 1000, 65_536] {
            assert_eq!(answer(spec(), simd, tile).unwrap(), first, "{} with tiles of {tile}", simd.name());
        }
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("a\nx\n", "has no column that holds numbers", vec![]),
        ("a\nx\n", "'a' is of type text, and moments need numbers (--types 'a=float'", vec!["a"]),
        ("a\n1\nNaN\n", "'a' is of type text", vec!["a"]),
        ("a\n1\n1,5\n", ":3: has 2 fields, and the header 1", vec!["a"]),
        ("a\n1\n2\n", "there is no column 'zz' (the nearest is 'a')", vec!["zz"]),
        ("", "is empty", vec!["a"]),
        ("a,a\n1,2\n", "2 columns are called 'a'", vec!["a"]),
    ];
    for (text, wanted, columns) in cases {
        let file = TempFile::new(text);
        let columns = columns.into_iter().map(str::to_owned).collect();
        let error = answer(MomentsSpec { columns, ..file.spec() }, best(), 64).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text:?}: {error}");
    }
    let late = format!("a\n{}NaN\n", "1.5\n".repeat(2000));
    let file = TempFile::new(&late);
    let error = answer(file.spec(), best(), 1 << 20).unwrap_err().to_string();
    assert!(
        error.contains(":2002: column 'a' holds 'NaN', which is not a finite number (--missing 'NaN'"),
        "{error}"
    );
    let mut both = generate(Distribution::Normal, 0);
    both.table.delimiter = '"';
    assert_eq!(Moments::resolve(both).unwrap_err().0.len(), 2, "all problems at once");
}

#[test]
fn nothing_but_a_header_has_no_moments() {
    let file = TempFile::new("a,b\n");
    let mut spec = MomentsSpec { columns: vec!["b".into()], ..file.spec() };
    spec.table.types = vec!["b=float".parse().unwrap()];
    let column = &answer(spec, best(), 64).unwrap().columns[0];
    assert_eq!((column.count, column.mean, column.variance, column.min), (0, None, None, None));
}
