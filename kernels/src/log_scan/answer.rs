//! The answer: how many lines matched, and how many for each key.

use super::counts::LogScanPartial;
use serde::Serialize;
use std::fmt;

/// Keys that are shown to people.
const SHOWN: usize = 50;

/// Lines that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogScanAnswer {
    /// How many.
    pub lines: u64,
    /// Bytes of text that were searched.
    pub bytes: u64,
    /// What they were counted by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

/// Lines for each key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct By {
    /// The groups that make a key.
    pub groups: Vec<String>,
    /// How many keys there are, whether they are all in the table or not.
    pub keys: u64,
    /// The keys and their lines: in the order of the keys, or those with the most lines first.
    pub table: Vec<Counted>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// What each group captured; bytes that are no UTF-8 are replaced. None for a group that had no part in the match.
    pub key: Vec<Option<String>>,
    /// How many lines.
    pub lines: u64,
}

/// The groups of a key, and its lines.
type Row<'a> = (Vec<Option<&'a [u8]>>, u64);

impl LogScanAnswer {
    /// Of the partial of all blocks; the `top` keys with the most lines, or all.
    pub(super) fn of(root: &LogScanPartial, names: &[String], bytes: u64, top: Option<u64>) -> LogScanAnswer {
        let by = || {
            let top = top.map(|top| usize::try_from(top).unwrap_or(usize::MAX));
            let mut keys = root.groups(names.len(), top);
            match top {
                None => keys.sort_unstable(),
                Some(top) => {
                    keys.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                    keys.truncate(top);
                }
            }
            let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
            let counted = |(key, lines): Row| Counted {
                key: key.into_iter().map(|group| group.map(text)).collect(),
                lines,
            };
            By { groups: names.to_vec(), keys: root.keys(), table: keys.into_iter().map(counted).collect() }
        };
        LogScanAnswer { lines: root.lines, bytes, by: (!names.is_empty()).then(by) }
    }
}

impl fmt::Display for LogScanAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(by) = &self.by {
            let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".into());
            let heads: Vec<String> = by.groups.clone();
            let shown: Vec<(Vec<String>, u64)> = by
                .table
                .iter()
                .take(SHOWN)
                .map(|row| (row.key.iter().map(cell).collect(), row.lines))
                .collect();
            let width = |nth: usize| {
                let cells = shown.iter().map(|(key, _)| key[nth].chars().count());
                cells.chain([heads[nth].chars().count()]).max().unwrap_or(0)
            };
            let widths: Vec<usize> = (0..heads.len()).map(width).collect();
            let digits = shown.iter().map(|(_, lines)| lines.to_string().len()).max().unwrap_or(0).max(5);
            let row = |f: &mut fmt::Formatter<'_>, lines: &str, key: &[String]| {
                write!(f, "{lines:>digits$}")?;
                for (nth, (text, width)) in key.iter().zip(&widths).enumerate() {
                    // Nothing is put behind the last.
                    let width = if nth + 1 == key.len() { 0 } else { *width };
                    write!(f, "  {text:<width$}")?;
                }
                writeln!(f)
            };
            row(f, "lines", &heads)?;
            shown.iter().try_for_each(|(key, lines)| row(f, &lines.to_string(), key))?;
            if by.table.len() > SHOWN {
                writeln!(f, "... and {} more in the answer; --json shows all", by.table.len() - SHOWN)?;
            }
            if by.keys > by.table.len() as u64 {
                writeln!(f, "the first of {} keys", by.keys)?;
            }
        }
        let plural = if self.lines == 1 { " matches" } else { "s match" };
        writeln!(f, "{} line{plural}, of {} bytes of text", self.lines, self.bytes)
    }
}
