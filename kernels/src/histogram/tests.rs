//! Histograms against a naive reference, at the edges, and under every cut.

use super::*;
use crate::Simd;
use muster_spec::histogram::{Bins, Range};
use muster_spec::quantity::InputPath;
use muster_spec::table::TableSpec;
use proptest::prelude::*;
use std::path::Path;

fn spec(path: &Path, of: &str, bins: &str, range: &str) -> HistogramSpec {
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    HistogramSpec {
        table: TableSpec { files: vec![InputPath(path.to_owned())], delimiter: ',', ..TableSpec::default() },
        of: split(of),
        bins: split(bins).iter().map(|text| text.parse().unwrap()).collect(),
        range: split(range).iter().map(|text| text.parse().unwrap()).collect(),
        filter: None,
    }
}

fn write(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

/// All rounds, over blocks from the last to the first where `backwards`; partials go through their encoding.
fn compute(spec: HistogramSpec, simd: Simd, backwards: bool) -> Result<HistogramAnswer, Problems> {
    let kernel = Histogram::prepare(&Histogram::resolve(spec)?)?;
    let mut state = kernel.start()?;
    loop {
        let blocks = kernel.grid().blocks();
        let mut root: Option<HistogramPartial> = None;
        for nth in 0..blocks {
            let block = if backwards { blocks - 1 - nth } else { nth };
            let cx = &mut Fold::new(simd, 1 << 20);
            if backwards {
                kernel.add(&state, block, cx, &mut root)?;
                continue;
            }
            let bytes = postcard::to_stdvec(&kernel.fold(&state, block, cx)?).unwrap();
            let partial = postcard::from_bytes(&bytes).unwrap();
            root = Some(match root {
                None => partial,
                Some(left) => left.merge(partial),
            });
        }
        match kernel.finish(&state, root.unwrap())? {
            Turn::Answer(answer) => return Ok(answer),
            Turn::Next(next) => state = postcard::from_bytes(&postcard::to_stdvec(&next).unwrap()).unwrap(),
        }
    }
}

fn one(answer: &HistogramAnswer) -> &[u64] {
    match &answer.counts {
        Counts::One(counts) => counts,
        Counts::Two(_) => panic!("two columns"),
    }
}

fn said(spec: HistogramSpec) -> String {
    compute(spec, Simd::all()[0], false).unwrap_err().to_string()
}

/// As `numpy.histogram(x, 4)`, `numpy.histogram(x, 3, (2, 4))`, and with edges.
#[test]
fn edges_and_the_last_bin_are_those_of_numpy() {
    let file = write("x\n1\n2\n2\n3\n4\n4\n5\n");
    let run = |bins, range| compute(spec(file.path(), "x", bins, range), Simd::all()[0], false).unwrap();
    let all = run("4", "");
    assert_eq!(all.columns[0].edges, [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!((one(&all), all.n, all.outside), (&[1, 2, 1, 3][..], 7, 0));
    let part = run("3", "2:4");
    assert_eq!((one(&part), part.columns[0].below, part.columns[0].above), (&[2, 1, 2][..], 1, 1));
    assert_eq!(one(&run("0,2,4.5", "")), [1, 5]);
    let wide = run("width=2", "");
    assert_eq!((&wide.columns[0].edges[..], one(&wide)), (&[0.0, 2.0, 4.0, 6.0][..], &[1, 3, 3][..]));
    let from = run("width=1.5", "1:4");
    assert_eq!((&from.columns[0].edges[..], one(&from)), (&[1.0, 2.5, 4.0][..], &[3, 3][..]));
    let single = write("x\n7\n7\n");
    let single = compute(spec(single.path(), "x", "2", ""), Simd::all()[0], false).unwrap();
    assert_eq!((&single.columns[0].edges[..], one(&single)), (&[6.5, 7.0, 7.5][..], &[0, 2][..]));
}

#[test]
fn levels_orders_missing_values_and_filters() {
    let mut text = "x,y,k\n".to_owned();
    let (mut want, mut outside, mut missing) = (vec![vec![0; 5]; 7], 0, 0);
    for i in 0..60_000u64 {
        let (x, y) = (i * 37 % 1009, i * i % 1013);
        let gap = i % 97 == 0;
        text += &if gap { format!(",{y},{}\n", i % 3) } else { format!("{x}.5,{y},{}\n", i % 3) };
        match (i % 3 < 2, gap) {
            (true, true) => missing += 1,
            // x from 0 to 1400 in sevens of 200, y from 100 to 600 in fives of 100.
            (true, false) if (100..=600).contains(&y) => {
                want[(x / 200) as usize][((y - 100) / 100).min(4) as usize] += 1;
            }
            (true, false) => outside += 1,
            _ => {}
        }
    }
    let file = write(&text);
    let spec = || HistogramSpec {
        filter: Some("k < 2".into()),
        ..spec(file.path(), "x y", "width=200 5", "0:1400 100:600")
    };
    for (simd, backwards) in Simd::all().into_iter().zip([false, true].into_iter().cycle()) {
        let ours = compute(spec(), simd, backwards).unwrap();
        assert_eq!(ours.counts, Counts::Two(want.clone()), "{}", simd.name());
        assert_eq!((ours.missing, ours.outside, ours.rows), (missing, outside, 60_000));
        let shown = ours.to_string();
        let end =
            format!("left out: {missing} rows in which a value is missing\n40000 rows took part, of 60000\n");
        assert!(shown.ends_with(&end) && shown.contains("y: "), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
    }
}

const WIDTH: usize = 80;

#[test]
fn pictures_are_aligned_and_fit() {
    let mut text = "x,y\n".to_owned();
    (0..5000i64).for_each(|i| text += &format!("{},{}\n", -1e6 + (i * i % 977) as f64 / 3.0, i % 50));
    let file = write(&text);
    for (of, bins) in [("x", "7"), ("x", "100"), ("y", "width=0.3"), ("x y", "100 7"), ("y x", "5 90")] {
        let shown = compute(spec(file.path(), of, bins, ""), Simd::all()[0], false).unwrap().to_string();
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        let bars: Vec<&str> = shown.lines().filter(|line| line.starts_with('[')).collect();
        let places: Vec<_> = bars.iter().map(|line| (line.find(", "), line.find([')', ']']))).collect();
        assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{shown}");
        assert_eq!(shown.contains("bins as one"), bins.contains('0'), "{shown}");
    }
}

#[test]
fn mistakes_are_named() {
    let file = write("x,y,t\n1,2,a\n1e300,3,b\n");
    let path = file.path();
    let several = said(spec(path, "xx t", "10", ""));
    assert!(several.contains("--of: there is no column 'xx' (the nearest is 'x')"), "{several}");
    assert!(several.contains("--of: needs numbers, and 't' is of type text"), "{several}");
    assert!(said(spec(path, "x x y", "10", "")).contains("--of: names 3 columns, and at most 2"));
    assert!(said(spec(path, "x y", "2000 2000", "")).contains("makes 4000000 bins, and at most 1048576"));
    assert!(said(spec(path, "y", "0,1,2", "0:1")).contains("--range: goes with a number or a width"));
    assert!(said(spec(path, "y", "width=1e-9", "0:1")).contains("more than 1048576 bins from 0 to 1"));
    assert!(said(spec(path, "x", "width=1e-9", "")).contains("--bins: 'x': width"));
    assert!(said(spec(path, "x", "width=1e-300", "")).contains("--bins: 'x': width"));
    assert!(said(spec(path, "y", "9", "1:1.0000000000000004")).contains("too narrow"));
    let none = HistogramSpec { filter: Some("y > 9".into()), ..spec(path, "x", "3", "") };
    assert!(said(none).contains("--of: no row that takes part has a value"));
    let none = HistogramSpec { filter: Some("y > 9".into()), ..spec(path, "x", "3", "0:1") };
    let none = compute(none, Simd::all()[0], false).unwrap();
    assert_eq!((one(&none), none.rows), (&[0, 0, 0][..], 2));
    assert!(none.to_string().ends_with("0 rows in the bins\n0 rows took part, of 2\n"), "{none}");
}

/// The bin that the edges say, by looking at all of them.
fn naive(edges: &[f64], x: f64) -> u32 {
    let last = edges.len() - 1;
    match edges.iter().rposition(|&edge| edge <= x) {
        None => 0,
        Some(at) if at == last && x > edges[last] => last as u32 + 1,
        Some(at) => at.min(last - 1) as u32 + 1,
    }
}

proptest! {
    /// Also where rounding is felt: narrow ranges far from zero, values on the edges.
    #[test]
    fn a_value_is_in_the_bin_that_the_edges_say(
        low in prop_oneof![-10f64..10.0, -1e15f64..1e15, Just(0.0)], width in prop_oneof![1e-3f64..1e3, 1f64..1e9],
        bins in 1usize..60, shares in prop::collection::vec(-0.2f64..1.2, 40), picks in prop::collection::vec(0usize..60, 20),
    ) {
        let range = Range { low, high: low + width };
        prop_assume!(range.low < range.high);
        for bins in [Bins::Count(bins), Bins::Width(width / bins as f64)] {
            let Ok(Some(axis)) = Axis::asked(&bins, Some(range)) else { continue };
            let mut values: Vec<f64> = shares.iter().map(|share| low + share * width).collect();
            let on = picks.iter().map(|&at| axis.edges[at % axis.edges.len()]);
            values.extend(on.flat_map(|edge| [edge, edge.next_up(), edge.next_down()]));
            values.extend([f64::MAX, f64::MIN, -0.0]);
            let want: Vec<u32> = values.iter().map(|&x| naive(&axis.edges, x)).collect();
            for simd in Simd::all() {
                let mut cells = Vec::new();
                axis.cells(simd, &values, &mut cells);
                prop_assert_eq!(&cells, &want);
            }
            let searched = Axis::asked(&Bins::Edges(axis.edges.clone()), None).unwrap().unwrap();
            let mut cells = Vec::new();
            searched.cells(Simd::all()[0], &values, &mut cells);
            prop_assert_eq!(&cells, &want);
        }
    }

    #[test]
    fn partials_merge_in_any_order(rows in prop::collection::vec(prop::collection::vec(0u64..100, 6), 3)) {
        let counts = |cells: &Vec<u64>| HistogramPartial::Counts(CellCounts { rows: 6, missing: 1, cells: cells.clone() });
        let extents = |cells: &Vec<u64>| {
            let there = cells[0] > 20;
            HistogramPartial::Extents(there.then(|| vec![(cells[1] as f64, cells[2] as f64)]))
        };
        for of in [&counts as &dyn Fn(&Vec<u64>) -> HistogramPartial, &extents] {
            let all = || rows.iter().map(of);
            let right = all().rev().reduce(|a, b| b.merge(a));
            let other = [2, 0, 1].map(|i| of(&rows[i])).into_iter().reduce(HistogramPartial::merge);
            prop_assert_eq!(&all().reduce(HistogramPartial::merge), &right);
            prop_assert_eq!(other, right);
        }
    }
}
