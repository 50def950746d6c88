//! Quantiles against sorting, in one round and in many, and under every cut.

use super::*;
use crate::Simd;
use crate::group_by::Cell;
use muster_spec::quantile::Method;
use muster_spec::quantity::InputPath;
use muster_spec::table::TableSpec;
use proptest::prelude::*;
use std::path::Path;

fn spec(path: &Path, of: &str, at: &[f64], method: Method) -> QuantileSpec {
    QuantileSpec {
        table: TableSpec { files: vec![InputPath(path.to_owned())], delimiter: ',', ..TableSpec::default() },
        of: of.split_whitespace().map(str::to_owned).collect(),
        at: at.to_vec(),
        method,
        filter: None,
    }
}

fn write(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

/// The answer, and the rounds it took; over blocks from the last to the first where `backwards`.
fn rounds(spec: QuantileSpec, simd: Simd, backwards: bool) -> Result<(QuantileAnswer, u32), Problems> {
    let kernel = Quantiles::prepare(&Quantiles::resolve(spec)?)?;
    let mut state = kernel.start()?;
    for round in 1.. {
        let blocks = kernel.grid().blocks();
        let mut root: Option<QuantilePartial> = None;
        for nth in 0..blocks {
            let cx = &mut Fold::new(simd, 1 << 20);
            if backwards {
                kernel.add(&state, blocks - 1 - nth, cx, &mut root)?;
                continue;
            }
            let bytes = postcard::to_stdvec(&kernel.fold(&state, nth, cx)?).unwrap();
            let partial = postcard::from_bytes(&bytes).unwrap();
            root = Some(match root {
                None => partial,
                Some(left) => left.merge(partial),
            });
        }
        match kernel.finish(&state, root.unwrap())? {
            Turn::Answer(answer) => return Ok((answer, round)),
            Turn::Next(next) => state = postcard::from_bytes(&postcard::to_stdvec(&next).unwrap()).unwrap(),
        }
    }
    unreachable!("rounds come to an end")
}

fn compute(spec: QuantileSpec) -> QuantileAnswer {
    rounds(spec, Simd::all()[0], false).unwrap().0
}

fn values(column: &ColumnQuantiles) -> Vec<Cell> {
    column.quantiles.iter().map(|quantile| quantile.value.clone()).collect()
}

const SHARES: [f64; 9] = [0.5, 0.0, 1.0, 0.25, 0.75, 0.99, 0.001, 0.333, 0.5];

/// What sorting gives: nearest rank, or numpy's `linear`.
fn naive(mut numbers: Vec<f64>, share: f64, method: Method) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len();
    if method == Method::Nearest {
        return numbers[((share * n as f64).ceil() as usize).max(1) - 1];
    }
    let place = share * (n - 1) as f64;
    let (a, b) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
    let share = place - place.floor();
    if share < 0.5 { a + (b - a) * share } else { b - (b - a) * (1.0 - share) }
}

#[test]
fn quantiles_are_those_of_sorting_however_it_is_cut() {
    let mut text = "small,wide,float,dec,k\n".to_owned();
    let mut columns = vec![Vec::new(); 4];
    for i in 0..50_000u64 {
        let (small, wide) =
            ((i * i % 1013) as i64 - 500, (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3) as i64);
        let (float, dec) = ((i * 37 % 1009) as f64 / 7.0 - 20.0, (i * 31 % 997) as i64 - 300);
        let gap = i % 97 == 0;
        let first = if gap { String::new() } else { small.to_string() };
        text += &format!(
            "{first},{wide},{float},{}{}.{:02},{}\n",
            if dec < 0 { "-" } else { "" },
            dec.abs() / 100,
            dec.abs() % 100,
            i % 3
        );
        if i % 3 < 2 {
            columns[0].extend((!gap).then_some(small as f64));
            columns[1].push(wide as f64);
            columns[2].push(float);
            columns[3].push(dec as f64 / 100.0);
        }
    }
    let file = write(&text);
    for (simd, (method, backwards)) in Simd::all().into_iter().cycle().zip([
        (Method::Nearest, false),
        (Method::Linear, true),
        (Method::Nearest, true),
    ]) {
        let mut spec = QuantileSpec {
            filter: Some("k < 2".into()),
            ..spec(file.path(), "small wide float dec", &SHARES, method)
        };
        spec.table.types = vec!["dec=decimal(2)".parse().unwrap()];
        let (ours, _) = rounds(spec, simd, backwards).unwrap();
        for (column, numbers) in ours.columns.iter().zip(&columns) {
            for (value, share) in values(column).into_iter().zip(SHARES) {
                let value = match value {
                    Cell::Int(x) => x as f64,
                    Cell::Float(x) => x,
                    Cell::Text(text) => text.parse().unwrap(),
                    Cell::Missing => panic!("there are values"),
                };
                assert_eq!(value, naive(numbers.clone(), share, method), "{} {share}", column.column);
            }
        }
        assert_eq!((ours.used, ours.rows), (columns[1].len() as u64, 50_000));
        assert_eq!(ours.columns[0].missing, (columns[1].len() - columns[0].len()) as u64);
        let shown = ours.to_string();
        assert!(
            shown.lines().all(|line| line.chars().count() <= 80)
                && shown.ends_with(" rows took part, of 50000\n"),
            "{shown}"
        );
    }
}

/// More values than are gathered, of which most are one: the window is narrowed until its key is known.
#[test]
fn many_equal_values_take_four_rounds() {
    let mut text = "x,y,z\n".to_owned();
    for i in 0..1_100_000u32 {
        text += if i % 1000 == 0 { "0.2,1," } else { "0.1,7," };
        text += &format!("{}.5\n", i * 37 % 1_100_000);
    }
    let file = write(&text);
    let (ours, took) =
        rounds(spec(file.path(), "x y", &[0.5, 1.0], Method::Nearest), Simd::all()[0], true).unwrap();
    assert_eq!(values(&ours.columns[0]), [Cell::Float(0.1), Cell::Float(0.2)]);
    assert_eq!(values(&ours.columns[1]), [Cell::Int(7), Cell::Int(7)]);
    assert_eq!(took, 4);
    let (_, took) =
        rounds(spec(file.path(), "y", &[0.5, 1.0], Method::Linear), Simd::all()[0], false).unwrap();
    assert_eq!(took, 1, "small whole numbers have a bucket each");
    // Hundreds of windows, of few buckets each.
    let shares: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1024.0).collect();
    let (ours, took) =
        rounds(spec(file.path(), "z", &shares, Method::Nearest), Simd::all()[0], false).unwrap();
    assert_eq!(took, 3);
    for (value, i) in values(&ours.columns[0]).into_iter().zip(0u64..) {
        assert_eq!(value, Cell::Float((i * 1_100_000).div_ceil(1024).max(1) as f64 - 0.5));
    }
}

#[test]
fn columns_without_values_and_defaults() {
    let file = write("x,t,e\n3,a,\n1,b,\n2,c,\n");
    let all = compute(spec(file.path(), "", &[0.5], Method::Nearest));
    assert_eq!(all.columns.len(), 1, "e is taken for text");
    let mut none = spec(file.path(), "x e", &[0.5], Method::Linear);
    none.table.types = vec!["e=float".parse().unwrap()];
    let none = compute(none);
    assert_eq!(
        (values(&none.columns[0]), values(&none.columns[1])),
        (vec![Cell::Float(2.0)], vec![Cell::Missing])
    );
    assert_eq!((none.columns[1].values, none.columns[1].missing), (0, 3));
    assert!(none.to_string().contains("missing"), "{none}");
}

#[test]
fn mistakes_are_named() {
    let file = write("x,t\n3,a\n1,b\n");
    let said = |spec| rounds(spec, Simd::all()[0], false).unwrap_err().to_string();
    let both = said(spec(file.path(), "xx t", &[0.5], Method::Nearest));
    assert!(both.contains("--of: there is no column 'xx' (the nearest is 'x')"), "{both}");
    assert!(both.contains("--of: needs numbers, and 't' is of type text"), "{both}");
    let both = said(spec(file.path(), "x x", &[99.0, f64::NAN], Method::Nearest));
    assert!(
        both.contains("--of: names 'x' twice")
            && both.contains("--at: 99 is not a share from 0 to 1 (the 99th")
    );
    assert!(both.contains("--at: NaN is not"), "{both}");
    let none = write("t\na\n");
    assert!(
        said(spec(none.path(), "", &[0.5], Method::Nearest))
            .contains("--of: is missing, and 0 columns hold numbers")
    );
}

proptest! {
    #[test]
    fn partials_merge_in_any_order_and_encode_alike(
        parts in prop::collection::vec((prop::collection::vec(0u64..9, 4), prop::collection::vec(0u64..99, 0..9)), 3),
    ) {
        let partial = |(buckets, offsets): &(Vec<u64>, Vec<u64>)| QuantilePartial {
            rows: 3, used: 2, buckets: buckets.clone(), offsets: vec![offsets.clone(), Vec::new()],
        };
        let merged = |order: [usize; 3]| {
            let root = order.map(|i| partial(&parts[i])).into_iter().reduce(QuantilePartial::merge);
            postcard::to_stdvec(&root.unwrap()).unwrap()
        };
        prop_assert_eq!(merged([0, 1, 2]), merged([2, 0, 1]));
        prop_assert_eq!(merged([0, 1, 2]), merged([2, 1, 0]));
    }

    /// Values near each other and far apart, few and many shares.
    #[test]
    fn any_numbers_have_the_quantiles_of_sorting(
        numbers in prop::collection::vec(prop_oneof![-1e300f64..1e300, -1f64..1.0, Just(0.0), -9f64..9.0], 1..60),
        shares in prop::collection::vec(0f64..=1.0, 1..20),
    ) {
        let text = numbers.iter().fold("x\n".to_owned(), |text, x| text + &format!("{x:?}\n"));
        let file = write(&text);
        for method in [Method::Nearest, Method::Linear] {
            let mut spec = spec(file.path(), "x", &shares, method);
            spec.table.types = vec!["x=float".parse().unwrap()];
            let ours = values(&compute(spec).columns[0]);
            for (value, &share) in ours.into_iter().zip(&shares) {
                prop_assert_eq!(value, Cell::Float(naive(numbers.clone(), share, method)));
            }
        }
    }
}
