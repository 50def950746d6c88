//! Group-by against a naive reference, and its merge.

use super::*;
use crate::Simd;
use crate::kernel::Partial;
use muster_spec::quantity::InputPath;
use muster_spec::table::TableSpec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

fn spec(path: &Path, by: &[&str], compute: &str, filter: Option<&str>) -> GroupBySpec {
    let files = vec![InputPath(path.to_owned())];
    GroupBySpec {
        table: TableSpec { files, delimiter: ',', ..TableSpec::default() },
        by: by.iter().map(|&s| s.to_owned()).collect(),
        compute: compute.parse().unwrap(),
        filter: filter.map(str::to_owned),
        limit: None,
        max_groups: 1000,
    }
}

/// The answer, with blocks merged in some order.
fn compute(spec: GroupBySpec, turned: bool) -> Result<GroupByAnswer, Problems> {
    let kernel = GroupBy::prepare(&GroupBy::resolve(spec)?)?;
    let mut partials = Vec::new();
    for block in 0..kernel.grid().blocks() {
        let partial = kernel.fold(block, &mut Fold::new(Simd::all()[0], 1 << 20))?;
        // As it comes back from the ledger or another rank.
        let bytes = postcard::to_stdvec(&partial).unwrap();
        let back: GroupByPartial = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(postcard::to_stdvec(&back).unwrap(), bytes);
        let digest = |p: &GroupByPartial| {
            let mut hasher = blake3::Hasher::new();
            p.digest(&mut hasher);
            hasher.finalize()
        };
        assert_eq!(digest(&back), digest(&partial));
        partials.push(back);
    }
    if turned && kernel.order() == Order::Running {
        partials.reverse();
    }
    let mut partials = partials.into_iter();
    let first = partials.next().unwrap();
    let answer = kernel.finish(partials.try_fold(first, |left, right| kernel.merge(left, right))?)?;
    if kernel.order() == Order::Running {
        let mut running = None;
        for block in (0..kernel.grid().blocks()).rev() {
            kernel.add(block, &mut Fold::new(Simd::all()[0], 1 << 20), &mut running)?;
        }
        let added = kernel.finish(running.unwrap())?;
        assert_eq!(serde_json::to_string(&added).unwrap(), serde_json::to_string(&answer).unwrap());
    }
    Ok(answer)
}

fn write(rows: &[(Option<&str>, Option<i64>, Option<f64>)]) -> tempfile::NamedTempFile {
    let mut text = "k,n,x\n".to_owned();
    for (k, n, x) in rows {
        let number = |v: Option<String>| v.unwrap_or_default();
        let (k, n, x) = (k.unwrap_or(""), number(n.map(|n| n.to_string())), number(x.map(|x| x.to_string())));
        text += &format!("{k},{n},{x}\n");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

type Key = (Option<&'static str>, Option<i64>);
type Row = (Option<&'static str>, Option<i64>, Option<f64>);

fn any_row() -> impl Strategy<Value = Row> {
    let key = prop_oneof![Just(None), Just(Some("a")), Just(Some("b")), Just(Some("long text"))];
    let x = prop_oneof![-1e3..1e3f64, -1e-9..1e-9f64, Just(1e300), Just(-1e300), Just(0.0)];
    (key, prop::option::weighted(0.9, -50i64..50), prop::option::weighted(0.9, x))
}

/// One value after another, in the plainest way.
fn naive(rows: &[Row]) -> BTreeMap<Key, Vec<Option<f64>>> {
    let mut out = BTreeMap::<_, Vec<_>>::new();
    for &(k, n, x) in rows {
        out.entry((k, n.map(|n| n.rem_euclid(7)))).or_default().push(x);
    }
    out
}

proptest! {
    #[test]
    fn agrees_with_the_plainest_way(mut rows in prop::collection::vec(any_row(), 1..400)) {
        // Types are settled at the start.
        rows[0] = (Some("a"), Some(0), Some(0.5));
        let by_seven: Vec<Row> = rows.iter().map(|&(k, n, x)| (k, n.map(|n| n.rem_euclid(7)), x)).collect();
        let file = write(&by_seven);
        let all = "count,count(x),sum(x),min(x),max(x),mean(x),median(x),sum(n)";
        let answer = compute(spec(file.path(), &["k", "n"], all, None), false).unwrap();
        prop_assert_eq!(&answer, &compute(spec(file.path(), &["k", "n"], all, None), true).unwrap());
        let want = naive(&rows);
        prop_assert_eq!((answer.groups as usize, answer.rows as usize), (want.len(), rows.len()));
        for (row, ((k, n), values)) in answer.table.iter().zip(&want) {
            let there: Vec<f64> = values.iter().copied().flatten().collect();
            let mut exact = crate::math::exact::Register::default();
            there.iter().for_each(|&x| exact.add(x));
            let float = |x: f64| if there.is_empty() { Cell::Missing } else { Cell::Float(x + 0.0) };
            let size = there.len() as f64;
            prop_assert_eq!(&row[0], &k.map_or(Cell::Missing, |k| Cell::Text(k.into())));
            prop_assert_eq!(&row[1], &n.map_or(Cell::Missing, |n| Cell::Int(n.into())));
            prop_assert_eq!(&row[2..4], &[Cell::Int(values.len() as i128), Cell::Int(there.len() as i128)]);
            prop_assert_eq!(&row[4], &float(exact.value()));
            prop_assert_eq!(&row[5], &float(there.iter().copied().fold(f64::INFINITY, f64::min)));
            prop_assert_eq!(&row[6], &float(there.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
            prop_assert_eq!(&row[7], &float(exact.value() / size));
            let mut sorted = there.clone();
            sorted.sort_by(f64::total_cmp);
            if let (Cell::Float(median), false) = (&row[8], sorted.is_empty()) {
                let want = sorted[((0.5 * size).ceil() as usize).max(1) - 1];
                prop_assert!((median - want).abs() <= want.abs() / 256.0 + 1e-300, "{} for {}", median, want);
            }
        }
    }
}

#[test]
fn sums_beyond_the_narrow_form_lose_nothing() {
    // 2^42 - 1/2 is the largest kind of number that units hold: 2^17 of them are more than a sum does.
    let large = 4_398_046_511_103.5;
    let rows: Vec<_> = (0..300_000).map(|i| (Some("a"), Some(i % 2), Some(large))).collect();
    let file = write(&rows);
    let answer = compute(spec(file.path(), &["k", "n"], "sum(x),count", None), true).unwrap();
    let answer = serde_json::to_value(&answer).unwrap();
    let half = 150_000.0 * large;
    assert_eq!(
        answer["table"],
        serde_json::json!([["a", 0, half, 150_000], ["a", 1, half, 150_000]]),
        "{answer}"
    );
}

#[test]
fn without_keys_the_table_is_one_group() {
    let rows = [(Some("a"), Some(1), Some(1.5)), (Some("b"), Some(2), None), (None, Some(4), Some(2.5))];
    let file = write(&rows);
    let ours = compute(spec(file.path(), &[], "count,sum(n),mean(x)", Some("n > 1")), true).unwrap();
    assert_eq!(ours.table, [[Cell::Int(2), Cell::Int(6), Cell::Float(2.5)]]);
}

#[test]
fn variances_and_filters() {
    let rows: Vec<Row> =
        (0..3000).map(|i| (Some(["a", "b"][i % 2]), Some(i as i64), Some(1e6 + (i % 10) as f64))).collect();
    let file = write(&rows);
    let spec = |filter| spec(file.path(), &["k"], "count,variance(x),stddev(n),mean(x)", filter);
    assert_eq!(spec(None).class(), Class::PortableF64);
    let answer = compute(spec(Some("n < 2000 and k = 'a'")), false).unwrap();
    assert_eq!((answer.groups, answer.rows, answer.used), (1, 3000, 1000));
    let (Cell::Float(variance), Cell::Float(stddev)) = (&answer.table[0][2], &answer.table[0][3]) else {
        panic!()
    };
    assert!((variance - 8.008008008008009).abs() < 1e-9, "{variance}");
    assert!((stddev - 577.6388721914988).abs() < 1e-9, "{stddev}");
    assert_eq!(answer.table[0][4], Cell::Float(1_000_004.0));
    let none = compute(spec(Some("n > 5000")), false).unwrap();
    assert_eq!((none.groups, none.table.len()), (0, 0));
}

#[test]
fn decimals_and_times_keep_their_kind() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "day,price,ok\n2026-01-02,0.10,true\n2026-01-02,0.20,false\n2026-01-03,5,true\n")
        .unwrap();
    let mut spec = spec(file.path(), &["day"], "sum(price),mean(price),min(day),sum(ok),max(price)", None);
    spec.table.types = vec!["price=decimal(2)".parse().unwrap(), "ok=bool".parse().unwrap()];
    let answer = compute(spec, false).unwrap();
    let text = |s: &str| Cell::Text(s.into());
    let first = [text("2026-01-02T00:00:00Z"), text("0.30"), Cell::Float(0.15), text("2026-01-02T00:00:00Z")];
    assert_eq!(answer.table[0][..4], first);
    assert_eq!(answer.table[0][4..], [Cell::Int(1), text("0.20")]);
    assert!(answer.to_string().ends_with("2 groups of 3 rows\n"), "{answer}");
}

#[test]
fn mistakes_are_named() {
    let rows: Vec<Row> = (0..2000).map(|i| (Some("a"), Some(i), Some(0.5))).collect();
    let file = write(&rows);
    let said = |by: &[&str], what: &str, filter| {
        compute(spec(file.path(), by, what, filter), false).unwrap_err().to_string()
    };
    let both = said(&["kk", "n"], "sum(y),sum(k)", Some("z > 1"));
    for wanted in [
        "--by: there is no column 'kk' (the nearest is 'k')",
        "--compute: there is no column 'y'",
        "--compute: 'sum(k)' needs numbers, and the column is of type text",
        "--where:1: there is no column 'z'",
    ] {
        assert!(both.contains(wanted), "{wanted}: {both}");
    }
    let many = said(&["n"], "count", None);
    assert!(many.contains("--max-groups: there are more than 1000 groups"), "{many}");
    assert!(said(&["n", "n"], "count", None).contains("names 'n' twice"));
}
