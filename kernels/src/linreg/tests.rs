//! Least squares against certified values, against rational arithmetic, and under every cut.

use super::*;
use crate::Simd;
use muster_spec::quantity::InputPath;
use muster_spec::table::TableSpec;
use proptest::prelude::*;
use std::fmt::Write;
use std::path::Path;

fn spec(path: &Path, y: &str, x: &str) -> LinregSpec {
    LinregSpec {
        table: TableSpec { files: vec![InputPath(path.to_owned())], delimiter: ',', ..TableSpec::default() },
        y: y.into(),
        x: x.split(',').map(str::to_owned).collect(),
        no_intercept: false,
        filter: None,
    }
}

fn write(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

fn compute(spec: LinregSpec, simd: Simd) -> Result<LinregAnswer, Problems> {
    let kernel = Linreg::prepare(&Linreg::resolve(spec)?)?;
    let mut root: Option<LinregPartial> = None;
    for block in 0..kernel.grid().blocks() {
        let partial = kernel.fold(block, &mut Fold::new(simd, 1 << 20))?;
        let bytes = postcard::to_stdvec(&partial).unwrap();
        let partial = postcard::from_bytes(&bytes).unwrap();
        root = Some(match root {
            None => partial,
            Some(left) => kernel.merge(left, partial)?,
        });
    }
    kernel.finish(root.unwrap())
}

fn fit(text: &str, y: &str, x: &str) -> LinregAnswer {
    compute(spec(write(text).path(), y, x), Simd::all()[0]).unwrap()
}

/// How many digits of `ours` are those of `certified`.
fn digits(ours: f64, certified: f64) -> f64 {
    -((ours - certified).abs() / certified.abs()).max(1e-16).log10()
}

/// Makes sure of 13 digits in every certified number: estimates, standard errors, residual standard error, R2.
fn certified(name: &str, ours: &LinregAnswer, wanted: &[(f64, f64)], (error, r2): (f64, f64)) {
    assert_eq!(ours.coefficients.len(), wanted.len());
    let mut worst = 16f64;
    for (c, &(estimate, error)) in ours.coefficients.iter().zip(wanted) {
        worst = worst.min(digits(c.estimate, estimate)).min(digits(c.standard_error.unwrap(), error));
    }
    worst = worst.min(digits(ours.residual_standard_error.unwrap(), error)).min(digits(ours.r2.unwrap(), r2));
    assert!(worst >= 13.0, "{name}: {worst} digits: {ours:?}");
}

const LONGLEY: &str = "y,deflator,gnp,unemployed,forces,population,year
60323,83,234289,2356,1590,107608,1947
61122,88.5,259426,2325,1456,108632,1948
60171,88.2,258054,3682,1616,109773,1949
61187,89.5,284599,3351,1650,110929,1950
63221,96.2,328975,2099,3099,112075,1951
63639,98.1,346999,1932,3594,113270,1952
64989,99,365385,1870,3547,115094,1953
63761,100,363112,3578,3350,116219,1954
66019,101.2,397469,2904,3048,117388,1955
67857,104.6,419180,2822,2857,118734,1956
68169,108.4,442769,2936,2798,120445,1957
66513,110.8,444546,4681,2637,121950,1958
68655,112.6,482704,3813,2552,123366,1959
69564,114.2,502601,3931,2514,125368,1960
69331,115.7,518173,4806,2572,127852,1961
70551,116.9,554894,4007,2827,130081,1962
";

/// NIST Statistical Reference Datasets, Longley (1967): higher difficulty.
#[test]
fn longley_has_its_certified_digits() {
    let ours = fit(LONGLEY, "y", "deflator,gnp,unemployed,forces,population,year");
    let wanted = [
        (-3482258.63459582, 890420.383607373),
        (15.0618722713733, 84.9149257747669),
        (-0.358191792925910e-1, 0.334910077722432e-1),
        (-2.02022980381683, 0.488399681651699),
        (-1.03322686717359, 0.214274163161675),
        (-0.511041056535807e-1, 0.226073200069370),
        (1829.15146461355, 455.478499142212),
    ];
    certified("Longley", &ours, &wanted, (304.854073561965, 0.995479004577296));
    assert!(digits(ours.f.unwrap(), 330.285339234588) > 13.0, "{ours:?}");
}

/// NIST, Norris: lower difficulty.
#[test]
fn norris_has_its_certified_digits() {
    let pairs = "0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5 668.5 666.3 998.5 996.3 449.1 448.6 \
                 778.9 777.0 559.2 558.2 0.3 0.4 0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6 \
                 557.7 556.0 228.3 228.1 998.0 995.8 888.8 887.6 119.6 120.2 0.3 0.3 0.6 0.3 557.6 556.8 339.3 339.1 \
                 888.0 887.2 998.5 999.0 778.9 779.0 10.2 11.1 117.6 118.3 228.9 229.2 668.4 669.1 449.2 448.9 0.2 0.5";
    let words: Vec<&str> = pairs.split_whitespace().collect();
    let text = words.chunks(2).fold("y,x\n".to_owned(), |text, pair| text + pair[0] + "," + pair[1] + "\n");
    let wanted = [(-0.262323073774029, 0.232818234301152), (1.00211681802045, 0.429796848199937e-3)];
    certified("Norris", &fit(&text, "y", "x"), &wanted, (0.884796396144373, 0.999993745883712));
}

/// A table of the powers of 0 to 20 and `y`.
fn wampler(y: impl Fn(i64, usize) -> String) -> String {
    let mut text = "y,x,x2,x3,x4,x5\n".to_owned();
    for x in 0..21i64 {
        writeln!(text, "{},{x},{},{},{},{}", y(x, x as usize), x.pow(2), x.pow(3), x.pow(4), x.pow(5))
            .unwrap();
    }
    text
}

fn polynomial(x: i64) -> i64 {
    (0..6).map(|k| x.pow(k)).sum()
}

const POWERS: &str = "x,x2,x3,x4,x5";

/// NIST, Wampler 3 to 5 (1970): higher difficulty; every coefficient is 1.
#[test]
fn wampler_has_its_certified_digits() {
    let noise = [
        759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048, -2048, 1838, -2048, 2048,
        -2048, 2523, -2048, 2048, -2048, 759,
    ];
    let errors = [
        2152.32624678170,
        2363.55173469681,
        779.343524331583,
        101.475507550350,
        5.64566512170752,
        0.112324854679312,
    ];
    for (times, r2) in [(1, 0.999995559025820), (100, 0.957478440825662), (10_000, 0.224668921574940e-2)] {
        let text = wampler(|x, i| (polynomial(x) + times * noise[i]).to_string());
        let ours = fit(&text, "y", POWERS);
        let wanted: Vec<(f64, f64)> = errors.iter().map(|e| (1.0, e * times as f64)).collect();
        certified("Wampler", &ours, &wanted, (2360.14502379268 * times as f64, r2));
    }
}

/// NIST, Wampler 1 and 2: an exact fit, with coefficients 1, and powers of a tenth.
#[test]
fn wampler_without_noise_leaves_nothing() {
    let whole = fit(&wampler(|x, _| polynomial(x).to_string()), "y", POWERS);
    let hundred_thousandths = |x: i64| (0..6).map(|k| x.pow(k) * 10i64.pow(5 - k)).sum::<i64>();
    let text = wampler(|x, _| {
        format!("{}.{:05}", hundred_thousandths(x) / 100_000, hundred_thousandths(x) % 100_000)
    });
    let tenths = fit(&text, "y", POWERS);
    for (k, (a, b)) in whole.coefficients.iter().zip(&tenths.coefficients).enumerate() {
        assert!(digits(a.estimate, 1.0) >= 13.0, "{whole:?}");
        // The values of y are rounded themselves.
        assert!(digits(b.estimate, ["1", "0.1", "0.01", "1e-3", "1e-4", "1e-5"][k].parse().unwrap()) >= 10.0);
    }
    assert!(whole.residual_standard_error.unwrap() < 1e-6 && whole.r2 == Some(1.0), "{whole:?}");
}

/// NIST, NoInt1 (Eberhardt): through the origin.
#[test]
fn a_line_through_the_origin_has_its_certified_digits() {
    let text = (0..11).fold("y,x\n".to_owned(), |text, i| text + &format!("{},{}\n", 130 + i, 60 + i));
    let file = write(&text);
    let spec = LinregSpec { no_intercept: true, ..spec(file.path(), "y", "x") };
    let ours = compute(spec, Simd::all()[0]).unwrap();
    let wanted = [(2.07438016528926, 0.165289256198347e-1)];
    certified("NoInt1", &ours, &wanted, (3.56753034006338, 0.999365492298663));
}

#[test]
fn a_mean_far_from_zero_costs_no_digit() {
    let noise = |i: i64| ((i * 7919) % 1013) as f64 / 1013.0;
    let table = |offset: i64| {
        let mut text = "y,x\n".to_owned();
        (0..5000i64).for_each(|i| writeln!(text, "{},{}", 3.0 * i as f64 + noise(i), offset + i).unwrap());
        text
    };
    let (near, far) = (fit(&table(0), "y", "x"), fit(&table(1_000_000_000_000), "y", "x"));
    let (a, b) = (&near.coefficients[1], &far.coefficients[1]);
    assert!(
        digits(b.estimate, a.estimate) > 14.0
            && digits(b.standard_error.unwrap(), a.standard_error.unwrap()) > 13.0
    );
}

#[test]
fn levels_missing_values_and_filters() {
    let mut text = "y,a,b,k\n".to_owned();
    for i in 0..60_000i64 {
        let a = if i % 97 == 0 { String::new() } else { format!("{}.5", i * 37 % 1009) };
        writeln!(text, "{}.25,{a},{},{}", i * 31 % 777, i * i % 1013, i % 3).unwrap();
    }
    let file = write(&text);
    let spec = || LinregSpec { filter: Some("k < 2".into()), ..spec(file.path(), "y", "a,b") };
    let first = compute(spec(), Simd::all()[0]).unwrap();
    let missing = (0..60_000).filter(|i| i % 3 < 2 && i % 97 == 0).count() as u64;
    assert_eq!((first.rows, first.n, first.missing), (60_000, 40_000 - missing, missing));
    for simd in Simd::all() {
        assert_eq!(compute(spec(), simd).unwrap(), first, "{}", simd.name());
    }
    let shown = first.to_string();
    assert!(shown.contains("; 40000 took part, of 60000\n") && shown.contains("(intercept)"), "{shown}");
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
}

#[test]
fn dependent_columns_are_named() {
    let mut text = "y,a,b,sum,tenth,one,zero\n".to_owned();
    for i in 0..100 {
        let (a, b) = (f64::from(i * 37 % 101) / 10.0, f64::from(i * i % 97) / 7.0);
        writeln!(text, "{i},{a},{b},{},{},5.1,0", a + b, 0.1 * b + 1e3).unwrap();
    }
    let file = write(&text);
    let said = |x: &str| compute(spec(file.path(), "y", x), Simd::all()[0]).unwrap_err().to_string();
    let all = said("a,b,sum,tenth,one");
    for wanted in [
        "--x: 'sum' is a linear combination of 'a' and 'b' (leave 'sum' out)",
        "--x: 'tenth' is a linear function of 'b'",
        "--x: 'one' is the same in every row, as the intercept is",
    ] {
        assert!(all.contains(wanted), "{wanted}: {all}");
    }
    let origin = LinregSpec { no_intercept: true, ..spec(file.path(), "y", "zero,one") };
    let said = compute(origin, Simd::all()[0]).unwrap_err().to_string();
    assert_eq!(said, "--x: 'zero' is zero in every row (leave 'zero' out)");
}

#[test]
fn mistakes_are_named() {
    let file = write("y,a,t\n1,2,x\n2,4.5,y\n1e200,3,z\n");
    let said = |y: &str, x: &str| compute(spec(file.path(), y, x), Simd::all()[0]).unwrap_err().to_string();
    let both = said("yy", "t,aa");
    for wanted in [
        "--x: needs numbers, and 't' is of type text (--types 't=float' reads",
        "--x: there is no column 'aa' (the nearest is 'a')",
        "--y: there is no column 'yy' (the nearest is 'y')",
    ] {
        assert!(both.contains(wanted), "{wanted}: {both}");
    }
    assert!(said("y", "a").contains("--y: 'y' holds numbers whose squares are beyond the range"));
    assert!(said("y", "a,a,y").contains("--x: names 'a' twice\n--x: names 'y', which is --y"));
    let few = LinregSpec { filter: Some("a > 4".into()), ..spec(file.path(), "y", "a") };
    let said = compute(few, Simd::all()[0]).unwrap_err().to_string();
    assert!(said.contains("2 coefficients need as many rows at least, and 1 take part"), "{said}");
    let exact = fit("y,a\n1,2\n3,7\n", "y", "a");
    assert_eq!((exact.degrees_of_freedom, exact.residual_standard_error), (0, None));
    assert!(exact.to_string().contains("residual standard error - on 0 degrees"), "{exact}");
}

proptest! {
    /// Sums of products of small whole numbers are whole numbers, whatever the order.
    #[test]
    fn merging_any_split_sums_the_same(
        rows in prop::collection::vec((-1000i64..1000, -1000i64..1000), 1..200), at in 0usize..200,
    ) {
        let at = at.min(rows.len());
        let partial = |rows: &[(i64, i64)]| {
            let text = rows.iter().fold("y,x\n".to_owned(), |text, (y, x)| text + &format!("{y},{x}\n"));
            let file = write(&text);
            let mut spec = spec(file.path(), "y", "x");
            spec.table.types = vec!["x=int".parse().unwrap(), "y=int".parse().unwrap()];
            let kernel = Linreg::prepare(&Linreg::resolve(spec).unwrap()).unwrap();
            kernel.fold(0, &mut Fold::new(Simd::all()[0], 1 << 20)).unwrap()
        };
        let merged = partial(&rows[..at]).merge(partial(&rows[at..]));
        prop_assert_eq!(&merged, &partial(&rows));
        let want = [
            rows.len() as i64,
            rows.iter().map(|r| r.1).sum(),
            rows.iter().map(|r| r.0).sum(),
            rows.iter().map(|r| r.1 * r.1).sum(),
            rows.iter().map(|r| r.0 * r.1).sum(),
            rows.iter().map(|r| r.0 * r.0).sum(),
        ];
        prop_assert_eq!(merged.products, want.map(|sum| Double::from(sum as f64)));
    }
}
