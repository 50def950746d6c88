//! Books: reading them, their answers, and everything that may be wrong with them.

use crate::{answer, spec};
use muster_kernels::{Kernel, monte_carlo::MonteCarlo};
use muster_spec::monte_carlo::MonteCarloSpec;
use std::path::PathBuf;

const TOML: &str = r#"
[[option]]
name = "desk call"
kind = "european"
spot = 100
strike = 105.0
rate = 0.02
volatility = 0.25
expiry = 0.5
quantity = 10

[[option]]
kind = "barrier"
right = "put"
spot = 100
strike = 100
rate = 0.02
volatility = 0.25
expiry = 1
steps = 50
barrier = 80
barrier-kind = "down-and-out"
quantity = -5

[[option]]
name = "three"
kind = "basket"
spot = [100, 50, 20]
strike = 55
rate = 0.02
volatility = [0.2, 0.3, 0.4]
correlation = [[1, 0.5, 0.2], [0.5, 1, 0.1], [0.2, 0.1, 1]]
expiry = 1
"#;

/// A book under a name of its own.
struct Book(PathBuf);

impl Book {
    fn new(ending: &str, text: &str) -> Book {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let name = blake3::hash(text.as_bytes()).to_hex();
        let path = dir.join(format!("{}.{ending}", &name[..16]));
        std::fs::write(&path, text).unwrap();
        Book(path)
    }

    fn flags(&self) -> String {
        format!("--book {}", self.0.display())
    }

    /// The problems, without the name of the file's folder.
    fn problems(&self) -> Vec<String> {
        let problems = spec(&self.flags()).expect_err("the book is wrong");
        let file = self.0.display().to_string();
        problems.0.iter().map(|p| p.to_string().replace(&file, "book")).collect()
    }
}

fn json() -> String {
    let table: toml::Table = toml::from_str(TOML).unwrap();
    serde_json::to_string(&table).unwrap()
}

#[test]
fn a_book_is_the_same_in_toml_and_json() {
    let toml = spec(&Book::new("toml", TOML).flags()).unwrap();
    let json = spec(&Book::new("json", &json()).flags()).unwrap();
    assert_eq!(toml, json);
    assert_eq!(toml.options.len(), 3);
    assert_eq!(toml.options[2].terms.weights, [1.0 / 3.0; 3]);
}

#[test]
fn a_resolved_request_goes_through_json_unchanged_and_needs_no_file() {
    let book = Book::new("toml", &format!("{TOML}\n# of its own\n"));
    let resolved = spec(&format!("{} --greeks --paths 5000", book.flags())).unwrap();
    let text = serde_json::to_string(&resolved).unwrap();
    assert!(!text.contains("book") && !text.contains("null"), "{text}");
    let again: MonteCarloSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    assert_eq!(again.options, resolved.options);
    std::fs::remove_file(&book.0).unwrap();
    assert_eq!(MonteCarlo::prepare(&again).unwrap().grid(), MonteCarlo::prepare(&resolved).unwrap().grid());
}

#[test]
fn a_book_adds_up() {
    let answer = answer(&format!("{} --paths 20000 --greeks", Book::new("toml", TOML).flags()));
    let names: Vec<&str> = answer.options.iter().map(|option| option.name.as_str()).collect();
    assert_eq!(names, ["desk call", "barrier", "three"]);
    let deltas = answer.options[2].greeks.iter().filter(|greek| greek.name.starts_with("delta"));
    assert_eq!(deltas.count(), 3);
    let sum = |of: &dyn Fn(usize) -> f64| 10.0 * of(0) - 5.0 * of(1) + of(2);
    let names: Vec<&str> = answer.totals.iter().map(|total| total.name.as_str()).collect();
    assert_eq!(names, ["value", "vega", "theta", "rho"]);
    let value = sum(&|i| answer.options[i].price.value);
    assert!((answer.totals[0].estimate.value - value).abs() < 1e-9);
    let rho = sum(&|i| answer.options[i].greeks.last().unwrap().estimate.value);
    assert!((answer.totals[3].estimate.value - rho).abs() < 1e-9);
    let error =
        answer.options.iter().map(|o| (o.quantity * o.price.standard_error).powi(2)).sum::<f64>().sqrt();
    assert!((answer.totals[0].estimate.standard_error - error).abs() < 1e-9);
    let text = answer.to_string();
    assert!(text.contains("desk call") && text.lines().any(|line| line.starts_with("book")), "{text}");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_line() {
    let text = TOML
        .replace("strike = 105.0", "stirke = 105.0")
        .replace("\"barrier\"", "\"bariier\"")
        .replace("expiry = 0.5", "expiry = \"half\"")
        .replace("barrier = 80", "barrier = nan")
        .replace("[0.2, 0.1, 1]", "[0.2, 0.1]");
    let problems = Book::new("toml", &text).problems();
    let expected = [
        "book:6: option 1 'desk call', stirke: is not a key of an option (did you mean 'strike'?)",
        "book:9: option 1 'desk call', expiry: is \"half\", but must be a number of years",
        "book:13: option 2, kind: is \"bariier\", but must be european, asian, geometric-asian, barrier, lookback, \
         floating-lookback or basket (did you mean 'barrier'?)",
        "book:21: option 2, barrier: is nan, but must be a number, in money",
        "book:32: option 3 'three', correlation: is not a matrix of 3 rows with 3 numbers each (ones on the diagonal, \
         symmetric, positive definite)",
    ];
    let mut sorted = problems.clone();
    sorted.sort_by_key(|text| expected.iter().position(|e| e == text));
    assert_eq!(sorted, expected);
}

#[test]
fn a_book_says_its_market_itself() {
    let problems = Book::new("toml", "[[option]]\nkind = \"asian\"\nspot = 100\n").problems();
    for key in ["strike", "expiry", "rate", "volatility"] {
        let said = problems.iter().any(|text| text.starts_with(&format!("book:1: option 1, {key}: ")));
        assert!(said, "{key}: {problems:?}");
    }
}

#[test]
fn files_that_are_no_book() {
    for (ending, text, expected) in [
        ("toml", "", "holds no option"),
        ("toml", "[[options]]\nkind = \"asian\"\n", "'options' has no meaning in a book"),
        ("toml", "option = 3\n", "'option' is not a list"),
        ("toml", "[[option]\nkind = 3\n", "book:1"),
        ("toml", "option = [1, 2]\n", "is not a table of keys"),
        ("toml", "[[option]]\nkind = \"european\"\nkind = \"asian\"\n", "duplicate key"),
        ("json", "", "book:1:0"),
        ("json", "[]", "is not an object"),
        ("json", "{\"option\": [{\"kind\": \"european\",}]}", "book:1:"),
        ("json", "{\"option\": [{\"kind\": null}]}", "kind: is null"),
        ("json", "{\"option\": [{\"kind\": \"european\", \"name\": \"a\\nb\"}]}", "name: is \"a\\nb\""),
        ("yaml", "option:\n", "ends neither in .toml nor in .json"),
    ] {
        let problems = Book::new(ending, text).problems();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{text}: {problems:?}");
    }
    let missing = spec("--book /nowhere/book.toml").unwrap_err();
    assert!(missing.to_string().contains("cannot read /nowhere/book.toml"), "{missing}");
}

#[test]
fn flags_and_book_exclude_each_other() {
    let problems = spec(&format!("{} --strike 90 --right put", Book::new("toml", TOML).flags())).unwrap_err();
    let places: Vec<&str> = problems.0.iter().map(|problem| problem.place.as_str()).collect();
    assert_eq!(places, ["--right", "--strike"]);
    let nothing = spec("--paths 1000").unwrap_err();
    assert!(nothing.to_string().contains("--book FILE"), "{nothing}");
}
