//! Records of CSV as columns of values.

use super::text::{Part, TextFile};
use super::value::{self, Wrong};
use super::words::Interner;
use super::{BATCH_ROWS, Batch, Column, Each, Values};
use muster_spec::table::{ColumnType, Kind};
use muster_spec::{Problem, Problems};
use std::borrow::Cow;

/// Turns the wanted fields of records into batches.
pub(super) struct Decoder<'a> {
    file: &'a TextFile,
    columns: Vec<Decoded<'a>>,
}

/// One column of a batch.
struct Decoded<'a> {
    at: usize,
    column: &'a ColumnType,
    store: Store,
    valid: Vec<bool>,
    nulls: bool,
}

enum Store {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<u32>, Interner),
}

impl<'a> Decoder<'a> {
    pub(super) fn new(file: &'a TextFile, wanted: &[usize], columns: &'a [ColumnType]) -> Self {
        let decoded = |&at: &usize| Decoded {
            at,
            column: &columns[at],
            store: match columns[at].kind {
                Kind::Float => Store::Float(Vec::with_capacity(BATCH_ROWS)),
                Kind::Text => Store::Text(Vec::with_capacity(BATCH_ROWS), Interner::default()),
                _ => Store::Int(Vec::with_capacity(BATCH_ROWS)),
            },
            valid: Vec::with_capacity(BATCH_ROWS),
            nulls: false,
        };
        Decoder { file, columns: wanted.iter().map(decoded).collect() }
    }

    /// Gives `each` the rows of a part.
    ///
    /// # Errors
    /// When a field does not fit its column's type, or `each` says so.
    pub(super) fn batches(&mut self, part: &Part, each: Each<'_>) -> Result<(), Problems> {
        for rows in part.rows.chunks(BATCH_ROWS) {
            for column in &mut self.columns {
                column.fill(self.file, part, rows)?;
            }
            each(&Batch { rows: rows.len(), columns: self.columns.iter().map(Decoded::column).collect() })?;
        }
        Ok(())
    }
}

impl Decoded<'_> {
    fn column(&self) -> Column<'_> {
        let values = match &self.store {
            Store::Int(values) => Values::Int(values),
            Store::Float(values) => Values::Float(values),
            Store::Text(codes, interner) => Values::Text(codes, interner.words()),
        };
        Column { values, valid: self.nulls.then_some(&self.valid) }
    }

    fn fill(&mut self, file: &TextFile, part: &Part, rows: &[(u32, u32)]) -> Result<(), Problems> {
        self.valid.clear();
        self.nulls = false;
        let (at, of) = (self.at, file.header().len());
        let mut fields =
            Fields { file, part, rows: rows.iter(), at, of, valid: &mut self.valid, nulls: &mut self.nulls };
        let kind = self.column.kind;
        let wrong = match &mut self.store {
            Store::Float(values) => fields.numbers(values, value::float),
            Store::Text(codes, interner) => fields.texts(codes, interner),
            Store::Int(values) => match kind {
                Kind::Timestamp => fields.numbers(values, value::timestamp),
                Kind::Bool => fields.numbers(values, value::boolean),
                Kind::Decimal(scale) => fields.numbers(values, |text| value::decimal(text, scale)),
                _ => fields.numbers(values, value::int),
            },
        };
        wrong.map_err(|(row, why)| self.misfit(file, part, (row, why)))
    }

    /// A field that is no value of this column's type.
    fn misfit(&self, file: &TextFile, part: &Part, (row, why): ((u32, u32), Wrong)) -> Problems {
        let ColumnType { name, kind } = self.column;
        let raw = part.field(row, self.at, file.header().len());
        let text: String = String::from_utf8_lossy(raw).chars().take(40).collect();
        let what = match (kind, why) {
            (Kind::Int, Wrong::Form) => "which is not a whole number".to_owned(),
            (Kind::Int, Wrong::Size) => "which does not fit into 64 bits".to_owned(),
            (Kind::Float, _) => "which is not a finite number".to_owned(),
            (Kind::Decimal(_), Wrong::Size) => format!("which does not fit into a {kind} of 64 bits"),
            (kind, _) => format!("which is not a {kind}"),
        };
        let other = if *kind == Kind::Int { "float" } else { "text" };
        Problem::new(
            file.place(part.base + u64::from(row.0)),
            format!("column '{name}' holds '{text}', {what}"),
        )
        .hint(format!(
            "--missing '{}' counts it as missing; --types '{name}={other}' reads another type",
            text.trim()
        ))
        .into()
    }
}

/// The fields of one column.
struct Fields<'a, 'b> {
    file: &'a TextFile,
    part: &'a Part,
    rows: std::slice::Iter<'a, (u32, u32)>,
    at: usize,
    of: usize,
    valid: &'b mut Vec<bool>,
    nulls: &'b mut bool,
}

impl<'a> Fields<'a, '_> {
    fn is_missing(&self, text: &[u8]) -> bool {
        text.is_empty() || self.file.missing().iter().any(|word| word == text)
    }

    fn push(&mut self, there: bool) {
        self.valid.push(there);
        *self.nulls |= !there;
    }

    fn numbers<T: Default>(
        &mut self,
        values: &mut Vec<T>,
        parse: impl Fn(&[u8]) -> Result<T, Wrong>,
    ) -> Result<(), ((u32, u32), Wrong)> {
        values.clear();
        while let Some(&row) = self.rows.next() {
            let raw = self.part.field(row, self.at, self.of);
            // Most fields are a number as it stands.
            if let Ok(value) = parse(raw) {
                values.push(value);
                self.push(true);
                continue;
            }
            let field = unquoted(raw, self.file.quotes());
            let text = field.trim_ascii();
            let there = !self.is_missing(text);
            values.push(if there { parse(text).map_err(|why| (row, why))? } else { T::default() });
            self.push(there);
        }
        Ok(())
    }

    fn texts(&mut self, codes: &mut Vec<u32>, interner: &mut Interner) -> Result<(), ((u32, u32), Wrong)> {
        codes.clear();
        while let Some(&row) = self.rows.next() {
            let raw = self.part.field(row, self.at, self.of);
            let field = unquoted(raw, self.file.quotes());
            // Quotes around nothing are an empty text; nothing is a missing one.
            let there = !(raw.is_empty() || self.file.missing().iter().any(|word| word[..] == *field));
            codes.push(interner.intern(if there { &field } else { b"" }));
            self.push(there);
        }
        Ok(())
    }
}

/// A field's text without the quotes around it.
pub(super) fn unquoted(field: &[u8], quotes: bool) -> Cow<'_, [u8]> {
    match field {
        [b'"', inner @ .., b'"'] if quotes => match memchr::memmem::find(inner, b"\"\"") {
            None => Cow::Borrowed(inner),
            Some(_) => {
                let mut text = Vec::with_capacity(inner.len());
                let mut rest = inner;
                while let Some(at) = memchr::memmem::find(rest, b"\"\"") {
                    text.extend_from_slice(&rest[..=at]);
                    rest = &rest[at + 2..];
                }
                text.extend_from_slice(rest);
                Cow::Owned(text)
            }
        },
        _ => Cow::Borrowed(field),
    }
}
