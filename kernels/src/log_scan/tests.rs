//! Log-scan against the plainest way, line by line with the library; chains, cuts, damage.

use super::*;
use crate::Simd;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

fn spec(pattern: &str, file: &Path, group_by: &[&str]) -> LogScanSpec {
    LogScanSpec {
        pattern: pattern.into(),
        files: vec![InputPath(file.to_owned())],
        group_by: group_by.iter().map(|&g| g.to_owned()).collect(),
        top: None,
        ignore_case: false,
        no_unicode: false,
        max_groups: 1000,
    }
}

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

/// The answer of these blocks, folded and merged, and added up in the other order.
fn scan(kernel: &LogScan, tile: usize) -> Result<LogScanAnswer, Problems> {
    scan_at(kernel, Simd::all()[0], tile)
}

/// The same with these vector instructions.
fn scan_at(kernel: &LogScan, simd: Simd, tile: usize) -> Result<LogScanAnswer, Problems> {
    let blocks = kernel.grid().blocks();
    let cx = || Fold::new(simd, tile);
    let mut all = LogScanPartial::default();
    for block in 0..blocks {
        let bytes = postcard::to_stdvec(&kernel.fold(block, &mut cx())?).unwrap();
        let back: LogScanPartial = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(postcard::to_stdvec(&back).unwrap(), bytes);
        all = kernel.merge(all, back)?;
    }
    let mut added = None;
    for block in (0..blocks).rev() {
        kernel.add(block, &mut cx(), &mut added)?;
    }
    let added = added.unwrap();
    assert_eq!(postcard::to_stdvec(&added).unwrap(), postcard::to_stdvec(&all).unwrap());
    kernel.finish(all)
}

type Keys = BTreeMap<Vec<Option<Vec<u8>>>, u64>;

/// Line by line.
fn naive(kernel: &LogScan, text: &[u8]) -> (u64, Keys) {
    let (mut lines, mut keys) = (0, Keys::new());
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|&byte| byte == b'\n') {
        let mut captures = kernel.expression.regex.create_captures();
        kernel.expression.regex.search_captures(&Search::new(line), &mut captures);
        if captures.is_match() {
            lines += 1;
            let group = |&group: &usize| captures.get_group(group).map(|span| line[span.range()].to_vec());
            *keys.entry(kernel.groups.iter().map(group).collect()).or_default() += 1;
        }
    }
    (lines, keys)
}

/// Expressions, the groups that are counted, and whether they are chains.
const EXPRESSIONS: [(&str, &[&str], bool); 24] = [
    (r"^(\S+) ", &["1"], true),
    (r"^([^\n]*)", &["1"], true),
    (r"^((\S*)) ?((a)b)?", &["1"], false),
    (r"^((\S*)) (\S*)$", &["1", "2", "3"], true),
    (r"^(\S+) (\S+)", &["1", "2"], true),
    (r#""(?<method>GET|POST|é) ([^"]*)""#, &["method"], true),
    (r"^(a*)(b?)c", &["2", "1", "0"], true),
    (r"ab(\d{2,3}) ", &["1"], true),
    (r"^([a-z]+)=(-?\d+)$", &["1", "2"], true),
    (r" (.*)$", &["1"], true),
    (r"\[([^\]]+)\]", &["1"], true),
    (r"^$", &["0"], true),
    (r"(GET|é|k=) ?(\S*)", &["1", "2"], true),
    (r"(ab|12|\[x)[^\n\]]+\]?", &["0"], true),
    (r"(a|b)(\w+)", &["1", "2"], false),
    (r"(a)|(b)", &["1", "2"], false),
    (r"(\w+)b", &["1"], false),
    (r"(\w+?) ", &["1"], false),
    (r"\b(\w)", &["1"], false),
    (r"^(.*) (\d+)", &["1", "2"], false),
    (r"(?i)A(B|bc)", &["1"], false),
    (r"(\w+) .*\[x y\]", &["1"], false),
    (r"\w.*(GET|POST)", &["1"], false),
    (r"(?i)[a-z]b\d+ (.*)get", &["1"], false),
];

#[test]
fn chains_are_found_where_nothing_is_tried_twice() {
    let file = file(b"x\n");
    for (pattern, groups, chain) in EXPRESSIONS {
        let kernel = LogScan::prepare(&spec(pattern, file.path(), groups)).unwrap();
        assert_eq!(kernel.chain.is_some(), chain, "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn agrees_with_the_plainest_way(
        words in prop::collection::vec(prop_oneof![
            Just("\n"), Just("\n"), Just(" "), Just("a"), Just("b"), Just("c"), Just("ab12 "), Just("\"GET /x\""),
            Just("\"POST"), Just("é"), Just("[x y]"), Just("k=-12"), Just("\u{2028}"), Just("7"), Just("\r\n"),
            Just("a.text/of-sixteen"), Just("a-text-of_16.byte"),
        ], 0..300),
        broken in prop::option::of(0usize..80),
        which in 0..EXPRESSIONS.len(),
        count in any::<bool>(),
        tile in prop_oneof![16usize..200, 200usize..6000],
        blocks in 1u64..8,
        level in 0..Simd::all().len(),
    ) {
        let mut text = words.concat().into_bytes();
        if let Some(byte) = broken.and_then(|at| text.get_mut(at)).filter(|byte| **byte != b'\n') {
            *byte = 0xff;
        }
        let (simd, (pattern, groups, _)) = (Simd::all()[level], EXPRESSIONS[which]);
        let file = file(&text);
        let mut kernel = LogScan::prepare(&spec(pattern, file.path(), if count { &[] } else { groups })).unwrap();
        // Small blocks, so that lines cross them.
        kernel.grid = Grid::new(blocks.min(text.len().max(1) as u64));
        let (lines, keys) = naive(&kernel, &text);
        for texts in kernel.needed.all() {
            let mut found = LogScanPartial::default();
            let lines_alone = text.strip_suffix(b"\n").unwrap_or(&text);
            kernel.scan(lines_alone, Some(texts), &mut kernel.fresh(simd), &mut found);
            prop_assert_eq!(found.lines, lines, "{}", pattern);
        }
        let answer = scan_at(&kernel, simd, tile).unwrap();
        // An empty file has no line.
        prop_assert_eq!(answer.lines, if text.is_empty() { 0 } else { lines });
        if let Some(by) = answer.by.filter(|_| !text.is_empty()) {
            let lossy = |key: Vec<Option<Vec<u8>>>| -> Vec<Option<String>> {
                key.into_iter().map(|g| g.map(|g| String::from_utf8_lossy(&g).into_owned())).collect()
            };
            let wanted: Vec<_> = keys.into_iter().map(|(key, lines)| (lossy(key), lines)).collect();
            let got: Vec<_> = by.table.into_iter().map(|row| (row.key, row.lines)).collect();
            prop_assert_eq!(got, wanted, "{}", pattern);
        }
    }
}

#[test]
fn texts_inside_a_match_are_known_and_used_where_they_are_rare() {
    let file = file(b"x\n");
    let needed = |pattern: &str| LogScan::prepare(&spec(pattern, file.path(), &[])).unwrap().needed;
    for (pattern, many) in
        [(r#"\d{1,3}\.\d{1,3} .*" 500 "#, 1), (r"(\w+) .*\[x y\]", 1), (r"abc\d", 0), (r"\w+", 0)]
    {
        assert_eq!(needed(pattern).all().len(), many, "{pattern}");
    }
    let needed = needed(r"\w.*foo.*bar");
    let rarest =
        |tile: &[u8]| needed.rarest(tile).map(|texts| texts.find(b"foo bar", (0..7).into()).unwrap().start);
    assert_eq!(rarest(&b"a line with foo\n".repeat(1000)), Some(4));
    assert_eq!(rarest(&b"a line with bar\n".repeat(1000)), Some(0));
    assert_eq!(rarest(&b"a line with bar and foo\n".repeat(1000)), None);
}

#[test]
fn the_top_is_by_lines_and_then_by_key() {
    let file = file(b"b\na\nc\nc\nd\nb\na\n");
    let top = |k| {
        let spec = LogScanSpec { top: Some(k), ..spec(r"^(\w)", file.path(), &["1"]) };
        let by = scan(&LogScan::prepare(&spec).unwrap(), 1 << 20).unwrap().by.unwrap();
        assert_eq!(by.keys, 4);
        by.table
            .iter()
            .map(|row| format!("{}{}", row.key[0].as_deref().unwrap(), row.lines))
            .collect::<String>()
    };
    assert_eq!([top(1), top(2), top(3), top(9)], ["a2", "a2b2", "a2b2c2", "a2b2c2d1"]);
}

#[test]
fn mistakes_are_named() {
    let text = file(b"a b\n");
    let said = |spec: LogScanSpec| LogScan::resolve(spec).unwrap_err().to_string();
    let wrong = said(spec(r"ab(c", text.path(), &[]));
    assert!(wrong.contains("PATTERN:3") && wrong.contains("    ab(c\n      ^"), "{wrong}");
    let wrong = said(spec(r"(?<host>a)(b)", text.path(), &["hots", "2", "2", "5"]));
    assert!(wrong.contains("the nearest is 'host'") && wrong.contains("'2' twice"), "{wrong}");
    assert!(wrong.contains("no group '5'"), "{wrong}");
    assert!(said(spec(r"a\nb", text.path(), &[])).contains("a match lies within one line"));
    let wrong = said(spec("a", Path::new("/nowhere/x.log"), &[]));
    assert!(wrong.contains("/nowhere/x.log"), "{wrong}");
    let few = LogScanSpec { max_groups: 1, ..spec(r"(\w)", text.path(), &["1"]) };
    assert_eq!(scan(&LogScan::prepare(&few).unwrap(), 64).unwrap().lines, 1);
    let more = file(b"a\nb\n");
    let few = LogScanSpec { files: vec![InputPath(more.path().to_owned())], ..few };
    let wrong = scan(&LogScan::prepare(&few).unwrap(), 64).unwrap_err().to_string();
    assert!(wrong.contains("--max-groups: is 1, and there are more texts"), "{wrong}");
}

#[test]
fn a_file_that_changes_is_refused() {
    let text = file(&b"a line of text\n".repeat(1000));
    let kernel = LogScan::prepare(&spec("line", text.path(), &[])).unwrap();
    std::fs::write(&text, b"short\n").unwrap();
    let wrong = scan(&kernel, 1 << 20).unwrap_err().to_string();
    assert!(wrong.contains("has changed while it was read"), "{wrong}");
}
