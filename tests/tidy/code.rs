//! Reading Rust without a compiler: comments and literals blanked out, identifiers with their places, the lines of
//! functions and of test modules. Enough for the rules, and no more.

use std::ops::Range;

/// The source with every comment and the inside of every string and character literal turned into blanks, so that
/// what is left is code. Lines stay where they are.
pub(crate) fn blank(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < text.len() {
        let end = match (text[at], text.get(at + 1)) {
            ('/', Some('/')) => line_end(&text, at),
            ('/', Some('*')) => comment_end(&text, at),
            ('"', _) => string_end(&text, at),
            ('\'', _) => char_end(&text, at),
            ('r', Some('"' | '#')) if !is_word(at.checked_sub(1).map(|i| text[i])) => raw_end(&text, at),
            ('b' | 'c', Some('r')) if !is_word(at.checked_sub(1).map(|i| text[i])) => {
                match raw_end(&text, at + 1) {
                    end if end == at + 1 => at,
                    end => end,
                }
            }
            _ => at,
        };
        if end == at {
            out.push(text[at]);
            at += 1;
        } else {
            out.extend(text[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn line_end(text: &[char], from: usize) -> usize {
    text[from..].iter().position(|&c| c == '\n').map_or(text.len(), |n| from + n)
}

fn comment_end(text: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn string_end(text: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The end of a raw string that begins at the `r`, or `from` where there is none (`r#name`, a plain `r`).
fn raw_end(text: &[char], from: usize) -> usize {
    let hashes = text[from + 1..].iter().take_while(|&&c| c == '#').count();
    if text.get(from + 1 + hashes) != Some(&'"') {
        return from;
    }
    let mut at = from + 2 + hashes;
    while at < text.len() {
        let closing =
            text[at] == '"' && text[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
        at += 1;
        if closing {
            return at + hashes;
        }
    }
    text.len()
}

/// The end of a character literal, or `from` where the quote begins a lifetime.
fn char_end(text: &[char], from: usize) -> usize {
    match (text.get(from + 1), text.get(from + 2)) {
        (Some('\\'), Some(_)) => {
            text[from + 3..].iter().position(|&c| c == '\'').map_or(text.len(), |n| from + 4 + n)
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}

/// An identifier or keyword of blanked code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    /// The offset of its first byte.
    pub(crate) at: usize,
}

/// The identifiers and keywords of blanked code, in order.
pub(crate) fn words(code: &str) -> Vec<Word<'_>> {
    let mut out = Vec::new();
    let mut start = None;
    for (at, c) in code.char_indices().chain([(code.len(), ' ')]) {
        match (is_word(Some(c)), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                out.push(Word { text: &code[from..at], at: from });
                start = None;
            }
            _ => {}
        }
    }
    out
}

/// The line of an offset, from 1.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].bytes().filter(|&b| b == b'\n').count() + 1
}

/// The offset of the bracket that closes the one at `open`.
fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, b) in code.bytes().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Where the body of the item at `from` begins: the first brace outside parentheses and brackets, unless a semicolon
/// ends the item before.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, b) in code.bytes().enumerate().skip(from) {
        match b {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The functions of blanked code with a body: name, first line, how many lines from the signature to the last brace.
pub(crate) fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let words = words(code);
    let mut out = Vec::new();
    for pair in words.windows(2) {
        let [keyword, name] = pair else { continue };
        // `fn(u8) -> u8` is a type: between the keyword and a name there are blanks alone.
        let named = code[keyword.at + keyword.text.len()..name.at].chars().all(char::is_whitespace);
        if keyword.text != "fn" || !named {
            continue;
        }
        if let Some(close) = body(code, name.at).and_then(|open| closing(code, open)) {
            let first = line_of(code, keyword.at);
            out.push((name.text, first, line_of(code, close) - first + 1));
        }
    }
    out
}

/// The parts of blanked code that are compiled for tests alone: items under `#[cfg(test)]`.
pub(crate) fn test_parts(code: &str) -> Vec<Range<usize>> {
    let mark = "#[cfg(test)]";
    code.match_indices(mark)
        .filter_map(|(at, _)| Some(at..closing(code, body(code, at + mark.len())?)?))
        .collect()
}

/// Whether a file holds nothing but tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.split('/').any(|part| part == "tests") || name == "tests.rs" || name.ends_with("_tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let source = "a // unsafe\nb /* x /* y */ unsafe */ c\nlet s = \"un\\\"safe\";";
        assert_eq!(blank(source), "a          \nb                        c\nlet s =           ;");
    }

    #[test]
    fn raw_strings_and_characters_are_blanked() {
        assert_eq!(blank(r##"f(r#"a"b"#, br"\", c)"##).replace(' ', ""), "f(,,c)");
        assert_eq!(blank(r"m('{', '\'', '\u{7f}', b'}')").replace(' ', ""), "m(,,,b)");
        assert_eq!(blank("fn f<'a>(x: &'a str, r#fn: u8) {}"), "fn f<'a>(x: &'a str, r#fn: u8) {}");
    }

    #[test]
    fn functions_are_measured_from_signature_to_last_brace() {
        let source = "fn a(\n  x: [u8; { 1 + 1 }],\n) {\n  let s = \"}\"; if x { }\n}\ntrait T { fn b(&self); fn c() {} }\n\
                      type F = fn(u8) -> u8;";
        assert_eq!(functions(&blank(source)), [("a", 1, 5), ("c", 6, 1)]);
    }

    #[test]
    fn test_parts_are_found() {
        let code =
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c() } }\nfn d() {}\n#[cfg(test)]\nmod other;";
        let parts = test_parts(code);
        assert_eq!(parts.len(), 1);
        assert!(parts[0].contains(&code.find("c()").unwrap()));
        assert!(!parts[0].contains(&code.find("fn d").unwrap()));
    }

    #[test]
    fn words_have_their_places() {
        let found = words("use mpi_sys::x;");
        assert_eq!(found.iter().map(|w| w.text).collect::<Vec<_>>(), ["use", "mpi_sys", "x"]);
        assert_eq!(found[1].at, 4);
    }

    #[test]
    fn test_files_are_known_by_their_place_or_name() {
        assert!(
            ["tests/a.rs", "worker/tests/b/c.rs", "worker/src/ledger_tests.rs", "x/tests.rs"]
                .into_iter()
                .all(is_test_file)
        );
        assert!(!is_test_file("worker/src/contests.rs"));
    }
}
