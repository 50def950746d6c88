//! What a run prints, as numbers in a frame: the frame (words, separators, line breaks) must be the same in every
//! run, the numbers are summed.
//!
//! One rule serves bare numbers, CSV with a header, JSON and "hits: 12": a word that is a decimal and stands between
//! separators is a number, all else is frame. Quoted text is frame. Blanks between words count as one, and those that indent as none, so columns may be
//! aligned.

use super::decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Where a number stands in a frame.
const NUMBER: char = '\u{0}';

/// Numbers and their frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// The text with [`NUMBER`] for each number, without blanks at either end of a line.
    frame: String,
    numbers: Vec<Decimal>,
}

/// Why text has no sums: line and column from 1, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Garbage {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: String,
}

impl Sums {
    /// Reads what one run printed.
    pub(super) fn read(bytes: &[u8]) -> Result<Sums, Garbage> {
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let (line, column) = place(bytes, e.valid_up_to());
            Garbage { line, column, what: "a byte that is not UTF-8 text".into() }
        })?;
        let mut sums = Sums { frame: String::new(), numbers: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            sums.read_line(line).map_err(|(at, what)| Garbage {
                line: number + 1,
                column: line[..at].chars().count() + 1,
                what,
            })?;
            sums.frame.truncate(sums.frame.trim_end_matches(' ').len());
            sums.frame.push('\n');
        }
        if sums.numbers.is_empty() {
            let what = if text.is_empty() { "nothing" } else { "no number" };
            return Err(Garbage { line: 1, column: 1, what: what.into() });
        }
        Ok(sums)
    }

    /// Adds a line; where it cannot: the offset and what is there.
    fn read_line(&mut self, line: &str) -> Result<(), (usize, String)> {
        let mut at = 0;
        while let Some(first) = line[at..].chars().next() {
            let end = at + piece(&line[at..], line[..at].ends_with(|c: char| c.is_ascii_digit()));
            let word = &line[at..end];
            match first {
                NUMBER => return Err((at, "a NUL byte".into())),
                ' ' | '\t' => {
                    if !self.frame.is_empty() && !self.frame.ends_with([' ', '\n', '[', '(']) {
                        self.frame.push(' ');
                    }
                }
                _ => match Decimal::parse(word.as_bytes()) {
                    Some(number) => {
                        self.numbers.push(number);
                        self.frame.push(NUMBER);
                    }
                    None if is_no_number(word) => return Err((at, format!("'{word}', which has no sum"))),
                    None => self.frame.push_str(word),
                },
            }
            at = end;
        }
        Ok(())
    }

    /// The sums of both. Where the frames differ: line and column in them, and what stands there in each.
    pub(super) fn plus(self, other: Sums) -> Result<Sums, (usize, usize, String, String)> {
        if self.frame != other.frame {
            return Err(self.difference(&other));
        }
        let numbers = self.numbers.into_iter().zip(other.numbers).map(|(a, b)| a.plus(b)).collect();
        Ok(Sums { frame: self.frame, numbers })
    }

    fn difference(&self, other: &Sums) -> (usize, usize, String, String) {
        let same = self.frame.chars().zip(other.frame.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a);
        let prefix: String = same.collect();
        let line_start = prefix.rfind('\n').map_or(0, |at| at + 1);
        let shown = |sums: &Sums| {
            let line = sums.frame[line_start..].lines().next();
            line.map_or("the end".into(), |l| {
                format!("'{}'", l.replace(NUMBER, "#").chars().take(60).collect::<String>())
            })
        };
        let line = prefix.matches('\n').count() + 1;
        (line, prefix[line_start..].chars().count() + 1, shown(self), shown(other))
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.frame.len() + self.numbers.len() * size_of::<Decimal>()) as u64
    }

    /// The frame with the sums in it.
    pub(super) fn to_text(&self) -> String {
        let mut out = String::with_capacity(self.frame.len() + 8 * self.numbers.len());
        let mut numbers = self.numbers.iter();
        for c in self.frame.chars() {
            match c {
                NUMBER => out += &numbers.next().expect("one number for each mark").to_string(),
                c => out.push(c),
            }
        }
        out
    }
}

/// The length of the first piece of `text`, which is not empty: a quoted text, a separator, or a word up to one. A
/// colon between digits separates nothing: a time of day is not three numbers.
fn piece(text: &str, after_digit: bool) -> usize {
    let separator = |at: usize, c: char| match c {
        ':' => {
            let digit_before =
                if at == 0 { after_digit } else { text[..at].ends_with(|c: char| c.is_ascii_digit()) };
            !(digit_before && text[at + 1..].starts_with(|c: char| c.is_ascii_digit()))
        }
        c => {
            matches!(c, ' ' | '\t' | ',' | ';' | '[' | ']' | '{' | '}' | '(' | ')' | '=' | '|' | '"' | NUMBER)
        }
    };
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.find('"').map_or(text.len(), |at| at + 2);
    }
    let mut chars = text.char_indices();
    let (at, first) = chars.next().expect("the text is not empty");
    if separator(at, first) {
        return first.len_utf8();
    }
    chars.find(|&(at, c)| separator(at, c)).map_or(text.len(), |(at, _)| at)
}

/// What floating-point arithmetic prints instead of a number.
fn is_no_number(word: &str) -> bool {
    let word = word.trim_start_matches(['-', '+']).to_ascii_lowercase();
    matches!(word.as_str(), "nan" | "inf" | "infinity")
}

/// Line and column of an offset, from 1.
fn place(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = &bytes[..at];
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
    (before.iter().filter(|&&b| b == b'\n').count() + 1, at - start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> String {
        Sums::read(a.as_bytes()).unwrap().plus(Sums::read(b.as_bytes()).unwrap()).unwrap().to_text()
    }

    #[test]
    fn every_usual_form_is_summed() {
        assert_eq!(sum("1 2.5\n3\n", "10 0.25\n-3\n"), "11 2.75\n0\n");
        assert_eq!(sum("1,2;3|4", "1,2;3|4"), "2,4;6|8\n");
        assert_eq!(
            sum("{\"hits\": 12, \"5\": [1, 2]}", "{\"hits\": 3, \"5\": [10, 20]}"),
            "{\"hits\": 15, \"5\": [11, 22]}\n"
        );
        assert_eq!(sum("name,n\np99,1\n", "name,n\np99,2\n"), "name,n\np99,3\n");
        assert_eq!(
            sum("hits: 1\r\nat 12:30:05 x=2", "hits:   2\nat 12:30:05 x=3  "),
            "hits: 3\nat 12:30:05 x=5\n"
        );
        assert_eq!(sum("[ 1.  2. 10.]", "[10. 20.  1.]"), "[11 22 11]\n");
        assert_eq!(sum("   5 7\n", " 100 7"), "105 14\n");
    }

    #[test]
    fn garbage_is_placed() {
        let read = |text: &[u8]| Sums::read(text).unwrap_err();
        assert_eq!(read(b""), Garbage { line: 1, column: 1, what: "nothing".into() });
        assert_eq!(read(b"hello\n").what, "no number");
        let nan = read("1\n2 é -NaN\n".as_bytes());
        assert_eq!((nan.line, nan.column, &nan.what[..]), (2, 5, "'-NaN', which has no sum"));
        let binary = read(b"1\n2 \xff\n");
        assert_eq!((binary.line, binary.column), (2, 3));
        assert_eq!(read(b"1 \0").what, "a NUL byte");
    }

    #[test]
    fn other_frames_are_shown() {
        let (a, b) = (Sums::read(b"a 1\nb 2\n").unwrap(), Sums::read(b"a 1\nb 2 3\n").unwrap());
        let (line, column, left, right) = a.plus(b).unwrap_err();
        assert_eq!((line, column, &left[..], &right[..]), (2, 4, "'b #'", "'b # #'"));
        let (a, b) = (Sums::read(b"1\n").unwrap(), Sums::read(b"1\n2\n").unwrap());
        assert_eq!(a.plus(b).unwrap_err().2, "the end");
    }

    proptest! {
        #[test]
        fn sums_of_columns_are_those_of_integers(rows in prop::collection::vec(prop::collection::vec(any::<i32>(), 3), 1..20)) {
            let line = |row: &Vec<i32>| format!("n {} {},{}\n", row[0], row[1], row[2]);
            let read = |row: &Vec<i32>| Sums::read(line(row).as_bytes()).unwrap();
            let total = rows.iter().map(read).reduce(|a, b| a.plus(b).unwrap()).unwrap();
            let back = rows.iter().rev().map(read).reduce(|a, b| a.plus(b).unwrap()).unwrap();
            prop_assert_eq!(&total, &back);
            let of = |i: usize| rows.iter().map(|r| i64::from(r[i])).sum::<i64>();
            prop_assert_eq!(total.to_text(), format!("n {} {},{}\n", of(0), of(1), of(2)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\t\n\"éx0-9.:,]{0,60}") {
            if let Ok(sums) = Sums::read(text.as_bytes()) {
                prop_assert_eq!(sums.frame.matches(NUMBER).count(), sums.numbers.len());
                let again = Sums::read(sums.to_text().as_bytes()).unwrap();
                prop_assert_eq!(again.frame, sums.frame);
            }
        }
    }
}
