//! What filters mean, and what is said of those that do not parse.

use super::super::Interner;
use super::*;

fn columns() -> Vec<ColumnType> {
    ["price=decimal(2)", "n=int", "x=float", "name=text", "when=timestamp", "ok=bool", "odd name=int"]
        .iter()
        .map(|c| c.parse().unwrap())
        .collect()
}

/// Which of four rows take part.
fn kept(text: &str) -> Vec<u32> {
    let filter = Filter::parse("--where", text, &columns()).unwrap_or_else(|p| panic!("{p}"));
    let mut words = Interner::default();
    let names: Vec<u32> = [&b"b"[..], b"a", b"it's", b""].iter().map(|w| words.intern(w)).collect();
    let valid = [true, true, false, true];
    let day = 86_400_000_000;
    let all = [
        Column { values: Values::Int(&[150, 200, 250, -5]), valid: None },
        Column { values: Values::Int(&[1, 2, 3, 4]), valid: Some(&valid) },
        Column { values: Values::Float(&[0.5, 1.5, 2.5, -0.0]), valid: None },
        Column { values: Values::Text(&names, words.words()), valid: None },
        Column { values: Values::Int(&[0, day, 2 * day, -day]), valid: None },
        Column { values: Values::Int(&[1, 0, 1, 0]), valid: None },
        Column { values: Values::Int(&[7, 7, 8, 8]), valid: None },
    ];
    let batch = Batch { rows: 4, columns: filter.columns().iter().map(|&c| all[c]).collect() };
    let mut out = Vec::new();
    filter.rows(&batch, 0, &mut out);
    out
}

#[test]
fn rows_are_kept_where_the_filter_is_true() {
    for (text, want) in [
        ("price > 1.75", vec![1, 2]),
        ("price = 2", vec![1]),
        ("price >= -0.05 and price < 2", vec![0, 3]),
        ("n = 2 or n = 3", vec![1]),
        ("not n = 2", vec![0, 3]),
        ("n is missing", vec![2]),
        ("n is not missing", vec![0, 1, 3]),
        ("n > x", vec![0, 1, 3]),
        ("n > 2 or ok", vec![0, 2, 3]),
        ("x == 0", vec![3]),
        ("name = 'it''s' or name < 'b'", vec![1, 2, 3]),
        ("name in ('a', \"b\")", vec![0, 1]),
        ("n not in (1, 2.0, 7)", vec![3]),
        ("when >= '1970-01-02' and when < '1970-01-03T00:00:00Z'", vec![1]),
        ("ok = false and `odd name` = 8", vec![3]),
        ("NOT (ok OR n = 4)", vec![1]),
        ("1e1 > n", vec![0, 1, 3]),
    ] {
        assert_eq!(kept(text), want, "{text}");
    }
}

#[test]
fn mistakes_are_shown_where_they_are() {
    for (text, column, wanted) in [
        ("price >> 3", 8, "expected a column or a value"),
        ("prize > 3", 1, "there is no column 'prize' (the nearest is 'price'"),
        ("price > 3 price", 11, "expected 'and', 'or' or the end"),
        ("(price > 3", 11, "expected ')'"),
        ("name = 'x", 8, "this ' is never closed"),
        ("name > 3", 8, "this is of type int, and what it is compared with of type text"),
        ("when > 'soon'", 8, "this is of type text, and what it is compared with of type timestamp"),
        ("price", 6, "expected a comparison"),
        ("n in 3", 6, "expected '('"),
        ("n > 3 ; drop", 7, "';' means nothing here"),
        ("n > 12ab", 5, "'12ab' is not a number"),
        ("", 1, "expected a column or a value"),
    ] {
        let problem = Filter::parse("--where", text, &columns()).unwrap_err();
        assert_eq!(problem.place, format!("--where:{column}"), "{text}: {problem}");
        assert!(problem.what.contains(wanted), "{text}: {problem}");
        assert!(problem.what.ends_with(&format!("\n  {}^", " ".repeat(column - 1))), "{problem}");
    }
    let deep = "(".repeat(10_000);
    assert!(Filter::parse("--where", &deep, &columns()).unwrap_err().what.contains("nested too deep"));
}
