//! What is wrong with files and parameters is told at once, by file and line, with what to try next.

use super::*;

/// Every problem of a spec, with the folder's path cut off.
fn problems(folder: &Folder, spec: RiskSpec, scenarios: u64) -> Vec<String> {
    let folder = format!("{}/", folder.0.path().display());
    let problems = Risk::resolve(spec, Some(Count(scenarios)), 1).unwrap_err();
    problems.0.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

/// The problems of one file alone.
fn file_problems(text: &str) -> Vec<String> {
    let folder = Folder::new();
    let file = folder.file("p.csv", text);
    problems(&folder, spec(&[file], &[], 1), 1_000_000)
}

/// A good file of 40 days, with `line` (1 is the header) replaced.
fn with_line(line: usize, text: &str) -> String {
    let mut lines: Vec<String> = (0..40).map(|i| format!("{},{}", day(i), 100 + i % 7)).collect();
    lines.insert(0, "Date,Close".into());
    lines[line - 1] = text.into();
    lines.join("\n") + "\n"
}

#[test]
fn one_fault_of_a_file_is_one_message() {
    let table = [
        (with_line(5, "2000-01-04"), "p.csv:5: 1 fields, but the header has 2"),
        (with_line(5, "2000-01-04,1,2"), "p.csv:5: 3 fields, but the header has 2"),
        (with_line(5, "2000-01-04,many"), "p.csv:5: Close: 'many' is not a number"),
        (with_line(5, "2000-01-04,NaN"), "p.csv:5: Close: NaN is no price: not positive and finite"),
        (with_line(5, "2000-01-04,inf"), "p.csv:5: Close: inf is no price: not positive and finite"),
        (with_line(5, "2000-01-04,0"), "p.csv:5: Close: 0 is no price: not positive and finite"),
        (with_line(5, "2000-01-04,-3"), "p.csv:5: Close: -3 is no price: not positive and finite"),
        (
            with_line(5, "04.01.2000,100"),
            "p.csv:5: '04.01.2000' is not a day such as 2018-12-31 or 12/31/2018",
        ),
        (
            with_line(5, "2000-01-03,100"),
            "p.csv:5: 2000-01-03 does not come after 2000-01-03: days must increase",
        ),
        (
            with_line(5, "2000-01-02,100"),
            "p.csv:5: 2000-01-02 does not come after 2000-01-03: days must increase",
        ),
        (
            with_line(1, "2000-01-01,5"),
            "p.csv:1: has no header: its first line holds values, not names \
             (put a line such as 'Date,Close' on top)",
        ),
        (String::new(), "p.csv: is empty (a header such as 'Date,Close' and one line a day are needed)"),
        ("Date,Close\n".into(), "p.csv: 0 daily returns, but at least 30 are needed (give a longer history)"),
        (with_line(1, "Date,Date"), ""),
        (
            "Date,A,B\n2000-01-01,1,2\n".into(),
            "p.csv: no column is called 'Adj Close' or 'Close', and not \
             exactly one holds numbers (name one with --column: 'Date', 'A', 'B')",
        ),
        (with_line(41, ""), ""),
    ];
    for (text, want) in table {
        if want.is_empty() {
            let folder = Folder::new();
            assert!(Risk::resolve(spec(&[folder.file("p.csv", &text)], &[], 1), None, 1).is_ok(), "{text}");
        } else {
            assert_eq!(file_problems(&text), [want]);
        }
    }
}

#[test]
fn faults_of_all_files_come_together() {
    let folder = Folder::new();
    let one = with_line(3, "2000-01-02,x").replace("2000-01-09,101", "2000-01-09,-1");
    let mut files = vec![folder.file("one.csv", &one), folder.file("two.csv", &with_line(7, "7,7"))];
    files.push(InputPath(folder.0.path().join("gone.csv")));
    files.push(folder.file("four.csv", &with_line(1, "Date,Price")));
    let mut asked = spec(&files, &[], 0);
    asked.levels = vec![1.5];
    asked.columns = ["Close", "Close", "Close", "Pirce"].map(String::from).to_vec();
    let got = problems(&folder, asked, 0);
    let want = [
        "--horizon: 0 days, but a horizon has 1 to 10000 days (1 is a day, 10 is two weeks of trading)",
        "--scenarios: 0 scenarios, but a job has 1 to 1099511627776 (1e6 is a good start)",
        "--level: 1.5 does not lie between 0.5 and 1 (0.99 is 99 %)",
        "one.csv:3: Close: 'x' is not a number",
        "one.csv:10: Close: -1 is no price: not positive and finite",
        "two.csv:7: '7' is not a day such as 2018-12-31 or 12/31/2018",
        "gone.csv: cannot be read: No such file or directory (os error 2) (check the path and its \
         permissions)",
        "four.csv:1: has no column 'Pirce' (did you mean 'Price'? It has 'Date', 'Price')",
    ];
    assert_eq!(got, want);
}

#[test]
fn faults_beyond_twenty_are_counted() {
    let text: String = (0..40).map(|i| format!("{},zero\n", day(i))).collect();
    let got = file_problems(&format!("Date,Close\n{text}"));
    assert_eq!((got.len(), got[20].as_str()), (21, "p.csv: 20 more faults like these"));
}

#[test]
fn positions_must_fit_the_assets() {
    let folder = Folder::new();
    let files = [
        folder.file("gold.csv", &with_line(1, "Date,Close")),
        folder.file("oil.csv", &with_line(1, "D,Close")),
    ];
    let mut asked = spec(&files, &[Model::Bootstrap], 1);
    asked.positions = vec!["golf=5".parse().unwrap(), "oil=7".parse().unwrap()];
    let want = [
        "--position: no price file gives 'golf' (did you mean 'gold'? The assets are gold, oil)",
        "--position: 'gold' has none, but other assets have (give --position gold=VALUE, or leave its prices \
         away)",
    ];
    assert_eq!(problems(&folder, asked.clone(), 1_000_000), want);
    asked.positions = vec!["gold=0".parse().unwrap(), "oil=-0".parse().unwrap()];
    assert!(problems(&folder, asked.clone(), 1_000_000)[0].contains("gross value of 0"));
    asked.positions = vec!["gold=0".parse().unwrap(), "oil=-7".parse().unwrap()];
    assert_eq!(prepared(asked.clone(), 2000).market.weights, [0.0, -1.0]);
    asked.prices[1] = asked.prices[0].clone();
    assert!(problems(&folder, asked, 1_000_000)[0].starts_with("--prices: two assets are called 'gold'"));
}

#[test]
fn a_copy_of_an_asset_has_no_covariance() {
    let folder = Folder::new();
    let files = ["a.csv", "b.csv"].map(|name| folder.file(name, &with_line(1, "Date,Close")));
    assert_eq!(
        problems(&folder, spec(&files, &[Model::StudentT], 1), 1_000_000),
        ["--prices: the returns of 'b' do not vary, or follow from those of the other assets (leave 'b' \
          away, or ask for --model bootstrap only)"]
    );
    assert!(Risk::resolve(spec(&files, &[Model::Bootstrap], 1), None, 1).is_ok());
}

#[test]
fn too_few_days_in_common_and_bytes_that_are_no_text() {
    let folder = Folder::new();
    let later: String = with_line(1, "Date,Close").replace("2000-", "2001-");
    let files = [folder.file("a.csv", &with_line(1, "Date,Close")), folder.file("b.csv", &later)];
    let got = problems(&folder, spec(&files, &[], 1), 1_000_000);
    assert_eq!(
        got,
        ["a.csv: 0 daily returns that all files have, but at least 30 are needed (give a longer history)"]
    );
    std::fs::write(files[0].path(), b"Date,Close\n2000-01-01,\xff\xfe\n").unwrap();
    let got = problems(&folder, spec(&files[..1], &[], 1), 1_000_000);
    assert!(got[0].starts_with("a.csv:2: cannot be read: "), "{got:?}");
    let folder_itself = InputPath(folder.0.path().to_owned());
    assert!(Risk::resolve(spec(&[folder_itself], &[], 1), None, 1).is_err());
}

#[test]
fn no_file_at_all() {
    let got = problems(&Folder::new(), spec(&[], &[], 1), 1_000_000);
    assert_eq!(got, ["--prices: a price file is needed (give a CSV file with dates and prices)"]);
}
