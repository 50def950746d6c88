//! The types of CSV columns, settled over the start of a file.

use super::decode::unquoted;
use super::text::TextFile;
use super::value;
use muster_spec::Problems;
use muster_spec::table::{ColumnType, Kind, TableSpec};

/// Types are inferred over so many records at most.
const RECORDS: usize = 1000;

/// Names from the header; types as the user says, else the first of int, float and timestamp that all values fit that
/// are there, else text.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn infer(file: &TextFile, spec: &TableSpec) -> Result<Vec<ColumnType>, Problems> {
    let names = file.header();
    let mut seen = vec![Seen::default(); names.len()];
    let mut records = 0;
    file.first_records(&mut |part| {
        for &row in part.rows.iter().take(RECORDS - records) {
            for (i, seen) in seen.iter_mut().enumerate() {
                let field = unquoted(part.field(row, i, names.len()), file.quotes());
                let text = field.trim_ascii();
                if !text.is_empty() && !file.missing().iter().any(|word| word == text) {
                    seen.note(text);
                }
            }
        }
        records = (records + part.rows.len()).min(RECORDS);
        Ok(())
    })?;
    let kind = |name: &String, seen: &Seen| {
        let forced = spec.types.iter().find(|t| t.name == *name);
        forced.map_or_else(|| seen.kind(), |t| t.kind)
    };
    Ok(names
        .iter()
        .zip(&seen)
        .map(|(name, seen)| ColumnType { name: name.clone(), kind: kind(name, seen) })
        .collect())
}

/// What the values of a column so far are.
#[derive(Clone, Copy, Default)]
struct Seen {
    some: bool,
    /// A value that is no whole number, no number, no timestamp.
    no_int: bool,
    no_float: bool,
    no_timestamp: bool,
}

impl Seen {
    fn note(&mut self, text: &[u8]) {
        self.some = true;
        self.no_int |= value::int(text).is_err();
        self.no_float |= value::float(text).is_err();
        self.no_timestamp |= value::timestamp(text).is_err();
    }

    fn kind(&self) -> Kind {
        match self {
            Seen { some: false, .. } => Kind::Text,
            Seen { no_int: false, .. } => Kind::Int,
            Seen { no_float: false, .. } => Kind::Float,
            Seen { no_timestamp: false, .. } => Kind::Timestamp,
            _ => Kind::Text,
        }
    }
}
