//! Tables for people: columns as wide as what is in them, and times as people write them.

use std::fmt::Write;

/// A table with a heading; numbers to the right.
pub(crate) fn table(heading: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut out = String::new();
    let headings: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let _ = match right.contains(&column) {
                true => write!(line, "{cell:>width$}"),
                false => write!(line, "{cell:<width$}"),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// A span of time in Slurm's form: `1-02:03:04`, `2:03:04` or `3:04`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes, seconds) =
        (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// Time of CPUs: `0.25s` below a minute, else a span.
pub(crate) fn cpu(ms: u64) -> String {
    if ms < 60_000 { format!("{}.{:02}s", ms / 1000, ms % 1000 / 10) } else { span((ms / 1000) as i64) }
}

/// Milliseconds since 1970 by now.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

/// How long ago, or how far ahead, a moment is: `3:04 ago`, `in 2:00`.
pub(crate) fn relative(ms: i64) -> String {
    let off = ms - now_ms();
    if off > 0 { format!("in {}", span((off + 999) / 1000)) } else { format!("{} ago", span(-off / 1000)) }
}

/// Mebibytes as people say them: `512M`, `7.5G`.
pub(crate) fn memory(mib: u64) -> String {
    if mib < 1024 { format!("{mib}M") } else { format!("{:.1}G", mib as f64 / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [vec!["1".into(), "long name".into()], vec!["200".into(), "b".into()]];
        assert_eq!(table(&["JOB", "NAME"], &[0], &rows), "JOB  NAME\n  1  long name\n200  b\n");
    }

    #[test]
    fn spans_are_slurms() {
        let cases = [(-5, "0:00"), (64, "1:04"), (3_600, "1:00:00"), (93_784, "1-02:03:04")];
        for (seconds, wanted) in cases {
            assert_eq!(span(seconds), wanted);
        }
        assert_eq!((cpu(59_999), cpu(60_001), cpu(7)), ("59.99s".to_owned(), "1:00".into(), "0.00s".into()));
        assert_eq!((memory(512), memory(7_680)), ("512M".to_owned(), "7.5G".to_owned()));
    }
}
