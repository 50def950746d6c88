//! Requests by flags: defaults, and everything that may be wrong with them.

use super::*;
use clap::Parser;

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Cli {
    #[command(flatten)]
    spec: MonteCarloSpec,
}

fn parse(line: &str) -> MonteCarloSpec {
    Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}")).spec
}

fn contract(line: &str) -> Result<Contract, Vec<Problem>> {
    parse(line).flags.with_example_market().with_defaults().contract(&|key| format!("--{key}"))
}

/// The places of everything wrong with a line.
fn wrong(line: &str) -> Vec<String> {
    match contract(line) {
        Ok(contract) => panic!("{line} is a contract: {contract:?}"),
        Err(problems) => problems.into_iter().map(|problem| problem.place).collect(),
    }
}

#[test]
fn the_shortest_request_is_an_example() {
    let european = contract("--option european").unwrap();
    assert_eq!(european.payoff, Payoff::European);
    assert_eq!((european.right, european.strike, european.expiry), (Right::Call, 100.0, 1.0));
    assert_eq!((european.rate, european.steps, european.assets[0].volatility), (0.05, 1, 0.2));
    assert_eq!(contract("--option asian").unwrap().steps, 252);
    assert_eq!(contract("--option floating-lookback").unwrap().strike, 0.0);
    assert_eq!(parse("").paths(), 1_000_000);
    assert_eq!(parse("--scenarios 1e3").paths(), 1_000);
}

#[test]
fn a_basket_takes_one_for_all_or_one_for_each() {
    let line = "--option basket --spot 100,90 --volatility 0.2,0.3 --dividend 0.01 --correlation -0.5 --weights 1,-2";
    let basket = contract(line).unwrap();
    let second = Asset { spot: 90.0, volatility: 0.3, dividend: 0.01, weight: -2.0 };
    assert_eq!(basket.assets[1], second);
    assert_eq!(basket.factor, [vec![1.0], vec![-0.5, 0.75f64.sqrt()]]);
    let same = contract(&line.replace("--correlation -0.5", "--correlation 1,-0.5;-0.5,1")).unwrap();
    assert_eq!(same, basket);
}

#[test]
fn a_factor_times_its_transpose_is_the_correlation() {
    let rows = "1,0.3,-0.2;0.3,1,0.6;-0.2,0.6,1";
    let basket = contract(&format!("--option basket --spot 1,2,3 --correlation {rows}")).unwrap();
    let Correlation::Matrix(rows) = rows.parse().unwrap() else { panic!("a matrix was written") };
    for (i, (row, factor)) in rows.iter().zip(&basket.factor).enumerate() {
        for (wanted, other) in row[..=i].iter().zip(&basket.factor) {
            let dot: f64 = factor.iter().zip(other).map(|(a, b)| a * b).sum();
            assert!((dot - wanted).abs() < 1e-15);
        }
    }
}

#[test]
fn every_problem_is_told_with_its_flag() {
    for (line, places) in [
        ("--spot 100", vec!["--kind"]),
        ("--option european --spot 0 --volatility -0.2", vec!["--spot", "--volatility"]),
        ("--option european --spot nan --strike inf --rate nan", vec!["--strike", "--rate", "--spot"]),
        ("--option european --strike -1 --expiry 0 --rate 11", vec!["--strike", "--expiry", "--rate"]),
        ("--option european --volatility 20", vec!["--volatility"]),
        ("--option european --spot 100,90", vec!["--spot", "--volatility"]),
        ("--option european --volatility 5 --expiry 100", vec!["--volatility"]),
        ("--option asian --steps 0", vec!["--steps"]),
        ("--option asian --steps 2000000", vec!["--steps"]),
        ("--option barrier", vec!["--barrier", "--barrier-kind"]),
        ("--option barrier --barrier -5 --barrier-kind up-and-in", vec!["--barrier"]),
        ("--option basket --spot 1,2 --weights 1", vec!["--weights"]),
        ("--option basket --spot 1,2 --volatility 0.1,0.2,0.3", vec!["--volatility"]),
        ("--option basket --spot 1,2,3 --correlation -0.6", vec!["--correlation"]),
        ("--option basket --spot 1,2 --correlation 1", vec!["--correlation"]),
        ("--option basket --spot 1,2 --correlation 1,0.5;0.4,1", vec!["--correlation"]),
        ("--option basket --spot 1,2 --correlation 2,0;0,1", vec!["--correlation"]),
        ("--option basket --spot 1,2 --correlation nan", vec!["--correlation"]),
    ] {
        assert_eq!(wrong(line), places, "{line}");
    }
}

#[test]
fn what_would_be_ignored_is_refused() {
    for (line, places) in [
        ("--option european --steps 10 --monitoring discrete", vec!["--steps", "--monitoring"]),
        ("--option european --barrier 90 --barrier-kind up-and-in", vec!["--barrier", "--barrier-kind"]),
        ("--option floating-lookback --strike 100", vec!["--strike"]),
        ("--option asian --weights 1 --correlation 0.5", vec!["--weights", "--correlation"]),
        ("--option geometric-asian --control-variate", vec!["--control-variate"]),
    ] {
        assert_eq!(wrong(line), places, "{line}");
    }
}

#[test]
fn requests_that_are_no_job() {
    for (line, places) in [
        ("--option european --paths 1", vec!["--paths"]),
        ("--option european --paths 2e15", vec!["--paths"]),
        ("--paths 0", vec!["--paths", "--option"]),
        ("--book a.toml --option asian --paths 0", vec!["--paths", "--option"]),
        ("--book a.toml --prices a.csv", vec!["--book"]),
        ("--prices a.csv --strike 5 --greeks", vec!["--strike", "--greeks"]),
        ("--option asian --horizon 10 --level 0.9", vec!["--horizon", "--level"]),
    ] {
        let found: Vec<String> = parse(line).problems().into_iter().map(|problem| problem.place).collect();
        assert_eq!(found, places, "{line}");
    }
    for line in ["--option european", "--book a.toml --greeks", "--prices a.csv --horizon 3"] {
        assert_eq!(parse(line).problems(), [], "{line}");
    }
}

#[test]
fn words_that_are_no_correlation() {
    for text in ["", "x", "1,x;0,1", "1;"] {
        assert!(text.parse::<Correlation>().is_err(), "{text}");
    }
}

#[test]
fn every_key_of_a_book_is_a_flag() {
    use clap::CommandFactory;
    let command = Cli::command();
    for (key, expected) in KEYS.iter().filter(|(key, _)| !["kind", "name", "quantity"].contains(key)) {
        assert!(command.get_arguments().any(|arg| arg.get_long() == Some(key)), "{key}");
        assert!(!expected.is_empty());
    }
    let given = command.get_arguments().filter(|arg| {
        let heading = arg.get_help_heading().map(str::to_owned);
        heading.is_some_and(|heading| heading == "One option")
    });
    assert_eq!(given.count(), KEYS.len() - 2, "every flag of an option is a key, and has one");
}
