//! A file of Parquet: its columns, and the rows of a block, which is a row group.

use super::pages::{Memory, RowGroup};
use super::words::Words;
use super::{BATCH_ROWS, Batch, Column, Each, Values};
use crate::files::PlainFile;
use crate::kernel::Input;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, FileReader, Length};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use muster_spec::table::{ColumnType, Kind};
use muster_spec::{Problem, Problems};
use std::io::{BufReader, Read};
use std::sync::{Arc, Mutex};

const MAGIC: &[u8; 4] = b"PAR1";
const DAY_US: i64 = 86_400_000_000;
/// The header of a page is about as long.
const HEADER_BYTES: usize = 128;

pub(super) struct ParquetFile {
    file: Arc<PlainFile>,
    metadata: ArrowReaderMetadata,
    columns: Vec<ColumnType>,
    /// The position of each column in the file's schema.
    roots: Vec<usize>,
    /// What scans unpack into, kept from block to block.
    memory: Mutex<Vec<Memory>>,
}

/// A file as the library reads it.
#[derive(Clone)]
struct Chunks(Arc<PlainFile>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.bytes()
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> ::parquet::errors::Result<Self::T> {
        let file = self.0.clone();
        // The library asks for a header byte by byte.
        Ok(Box::new(BufReader::with_capacity(HEADER_BYTES, At { file, at: start })))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ::parquet::errors::Result<Bytes> {
        let bytes = self.0.bytes_at(start, length)?;
        match bytes.len() {
            n if n == length => Ok(bytes.into()),
            n => Err(ParquetError::EOF(format!("the file ends {} bytes too early", length - n))),
        }
    }
}

struct At {
    file: Arc<PlainFile>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl ParquetFile {
    /// Whether a file is one, by its first bytes.
    pub(super) fn is_one(file: &PlainFile) -> bool {
        let mut magic = [0; 4];
        file.read_at(&mut magic, 0).is_ok_and(|n| n == 4) && magic == *MAGIC
    }

    /// Opens a file.
    ///
    /// # Errors
    /// When it is damaged or cut off.
    pub(super) fn open(file: PlainFile) -> Result<ParquetFile, Problems> {
        let file = Arc::new(file);
        let plain = ArrowReaderMetadata::load(
            &Chunks(file.clone()),
            ArrowReaderOptions::new().with_skip_arrow_metadata(true),
        )
        .map_err(|why| damaged(&file, None, &why))?;
        let fields = plain.schema().fields();
        let wanted: Vec<Field> =
            fields.iter().map(|f| f.as_ref().clone().with_data_type(as_codes(f.data_type()))).collect();
        let (columns, roots) = wanted
            .iter()
            .enumerate()
            .filter_map(|(i, f)| Some((ColumnType { name: f.name().clone(), kind: kind(f.data_type())? }, i)))
            .unzip();
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_schema(Arc::new(Schema::new(wanted)));
        let metadata = ArrowReaderMetadata::try_new(plain.metadata().clone(), options)
            .map_err(|why| damaged(&file, None, &why))?;
        Ok(ParquetFile { file, metadata, columns, roots, memory: Mutex::default() })
    }

    pub(super) fn input(&self) -> &Input {
        self.file.input()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    pub(super) fn columns(&self) -> &[ColumnType] {
        &self.columns
    }

    pub(super) fn blocks(&self) -> u32 {
        u32::try_from(self.metadata.metadata().num_row_groups()).unwrap_or(u32::MAX)
    }

    pub(super) fn rows(&self) -> u64 {
        self.metadata.metadata().row_groups().iter().map(|g| g.num_rows().max(0) as u64).sum()
    }

    /// Makes sure that this file has these columns.
    pub(super) fn fits(&self, columns: &[ColumnType]) -> Result<(), Problems> {
        if self.columns == columns {
            return Ok(());
        }
        let place = self.file.path().display().to_string();
        let show = |c: Option<&ColumnType>| {
            c.map_or("nothing".into(), |c| format!("'{}' of type {}", c.name, c.kind))
        };
        let differs = (0..).find(|&i| self.columns.get(i) != columns.get(i)).unwrap_or(0);
        let what = format!(
            "column {} is {}, and {} in the first file",
            differs + 1,
            show(self.columns.get(differs)),
            show(columns.get(differs))
        );
        Err(Problem::new(place, what).hint("a table's files have the same columns").into())
    }

    /// Gives `each` the rows of a row group, batch by batch.
    ///
    /// # Errors
    /// When the file has changed or is damaged, a value cannot be held, or `each` says so.
    pub(super) fn scan(
        &self,
        block: u32,
        wanted: &[usize],
        columns: &[ColumnType],
        each: Each<'_>,
    ) -> Result<(), Problems> {
        self.file.check_unchanged()?;
        let mut memory = self.memory.lock().expect("nobody panics with it").pop().unwrap_or_default();
        let scanned = self.batches(block, (wanted, columns), &mut memory, each);
        memory.reclaim();
        self.memory.lock().expect("nobody panics with it").push(memory);
        scanned
    }

    fn batches(
        &self,
        block: u32,
        (wanted, columns): (&[usize], &[ColumnType]),
        memory: &mut Memory,
        each: Each<'_>,
    ) -> Result<(), Problems> {
        let roots: Vec<usize> = wanted.iter().map(|&c| self.roots[c]).collect();
        let mut projected = roots.clone();
        projected.sort_unstable();
        projected.dedup();
        let position = |root: &usize| projected.binary_search(root).expect("it was projected");
        let positions: Vec<usize> = roots.iter().map(position).collect();
        let reader =
            self.reader(block, &roots, memory).map_err(|why| damaged(&self.file, Some(block), &why))?;
        let mut scratch: Vec<Scratch> = wanted.iter().map(|_| Scratch::default()).collect();
        for rows in reader {
            let rows: RecordBatch = rows.map_err(|why| damaged(&self.file, Some(block), &why.into()))?;
            for ((scratch, &at), &c) in scratch.iter_mut().zip(&positions).zip(wanted) {
                scratch.load(rows.column(at)).map_err(|what| {
                    let place = format!("{}, row group {block}", self.file.path().display());
                    Problem::new(place, format!("column '{}' {what}", columns[c].name))
                })?;
            }
            let columns = scratch.iter().zip(&positions).map(|(s, &at)| s.column(rows.column(at))).collect();
            each(&Batch { rows: rows.num_rows(), columns })?;
        }
        Ok(())
    }

    fn reader(
        &self,
        block: u32,
        roots: &[usize],
        memory: &mut Memory,
    ) -> ::parquet::errors::Result<ParquetRecordBatchReader> {
        let (schema, block) = (self.metadata.parquet_schema(), block as usize);
        let mask = ProjectionMask::roots(schema, roots.iter().copied());
        if let Some(group) = RowGroup::read(&self.file, self.metadata.metadata(), block, &mask, memory)? {
            let levels = parquet_to_arrow_field_levels(schema, mask, Some(self.metadata.schema().fields()))?;
            let group: Arc<dyn FileReader> = Arc::new(group);
            return ParquetRecordBatchReader::try_new_with_row_groups(&levels, &group, BATCH_ROWS, None);
        }
        ParquetRecordBatchReaderBuilder::new_with_metadata(Chunks(self.file.clone()), self.metadata.clone())
            .with_row_groups(vec![block])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
    }
}

fn damaged(file: &PlainFile, block: Option<u32>, why: &ParquetError) -> Problems {
    if let Err(changed) = file.check_unchanged() {
        return changed.into();
    }
    let place = match block {
        Some(block) => format!("{}, row group {block}", file.path().display()),
        None => file.path().display().to_string(),
    };
    Problem::new(place, format!("is damaged or cut off as Parquet ({} bytes): {why}", file.bytes())).into()
}

/// Texts are read as codes, as Parquet stores them.
fn as_codes(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
        other => other.clone(),
    }
}

/// The kind of a column, `None` for those that are left out: nested ones, times of day, raw bytes.
fn kind(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Kind::Int,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Kind::Int,
        DataType::Float32 | DataType::Float64 => Kind::Float,
        DataType::Boolean => Kind::Bool,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Kind::Timestamp,
        DataType::Decimal128(_, scale) => Kind::Decimal(u8::try_from(*scale).ok().filter(|&s| s <= 18)?),
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => Kind::Text,
        _ => return None,
    })
}

/// What a column of a batch was turned into, where it cannot be used as it is.
#[derive(Default)]
struct Scratch {
    ints: Vec<i64>,
    floats: Vec<f64>,
    codes: Vec<u32>,
    words: Words,
    /// The dictionary that the words were made of.
    dictionary: Option<ArrayRef>,
    valid: Vec<bool>,
    nulls: bool,
}

impl Scratch {
    /// Turns an array into values.
    ///
    /// # Errors
    /// What is wrong with a value.
    fn load(&mut self, array: &ArrayRef) -> Result<(), String> {
        self.nulls = array.null_count() > 0;
        if self.nulls {
            self.valid.clear();
            self.valid.extend(array.nulls().into_iter().flatten());
        }
        match array.data_type() {
            DataType::Int64 => {}
            DataType::Int8 => self.widen::<Int8Type>(array),
            DataType::Int16 => self.widen::<Int16Type>(array),
            DataType::Int32 => self.widen::<Int32Type>(array),
            DataType::UInt8 => self.widen::<UInt8Type>(array),
            DataType::UInt16 => self.widen::<UInt16Type>(array),
            DataType::UInt32 => self.widen::<UInt32Type>(array),
            DataType::UInt64 => return self.narrow(array.as_primitive::<UInt64Type>().values()),
            DataType::Decimal128(..) => return self.narrow(array.as_primitive::<Decimal128Type>().values()),
            DataType::Boolean => {
                self.ints.clear();
                self.ints.extend(array.as_boolean().values().iter().map(i64::from));
            }
            DataType::Date32 => self.scale::<Date32Type>(array, |x| i64::from(x) * DAY_US),
            DataType::Date64 => self.scale::<Date64Type>(array, |x| x.saturating_mul(1000)),
            DataType::Timestamp(unit, _) => self.times(*unit, array),
            DataType::Float64 => return self.finite(array.as_primitive::<Float64Type>().values()),
            DataType::Float32 => {
                let floats: Vec<f64> =
                    array.as_primitive::<Float32Type>().values().iter().map(|&x| f64::from(x)).collect();
                self.finite(&floats)?;
                self.floats = floats;
            }
            _ => self.words(array),
        }
        Ok(())
    }

    fn widen<T: ArrowPrimitiveType>(&mut self, array: &ArrayRef)
    where
        T::Native: Into<i64>,
    {
        self.scale::<T>(array, Into::into);
    }

    fn scale<T: ArrowPrimitiveType>(&mut self, array: &ArrayRef, each: impl Fn(T::Native) -> i64) {
        self.ints.clear();
        self.ints.extend(array.as_primitive::<T>().values().iter().map(|&x| each(x)));
    }

    fn narrow<T: Copy + TryInto<i64>>(&mut self, values: &[T]) -> Result<(), String> {
        self.ints.clear();
        for (i, &value) in values.iter().enumerate() {
            let there = !self.nulls || self.valid[i];
            self.ints.push(match value.try_into() {
                Ok(value) => value,
                Err(_) if !there => 0,
                Err(_) => return Err("holds a number that does not fit into 64 bits with a sign".into()),
            });
        }
        Ok(())
    }

    fn times(&mut self, unit: TimeUnit, array: &ArrayRef) {
        match unit {
            TimeUnit::Second => self.scale::<TimestampSecondType>(array, |x| x.saturating_mul(1_000_000)),
            TimeUnit::Millisecond => {
                self.scale::<TimestampMillisecondType>(array, |x| x.saturating_mul(1000))
            }
            TimeUnit::Microsecond => self.scale::<TimestampMicrosecondType>(array, |x| x),
            TimeUnit::Nanosecond => self.scale::<TimestampNanosecondType>(array, |x| x.div_euclid(1000)),
        }
    }

    /// NaN counts as missing, as data frames write it; an infinity is refused.
    fn finite(&mut self, values: &[f64]) -> Result<(), String> {
        if values.iter().fold(true, |all, x| all & x.is_finite()) {
            return Ok(());
        }
        if !self.nulls {
            self.valid.clear();
            self.valid.resize(values.len(), true);
        }
        self.nulls = true;
        for (valid, x) in self.valid.iter_mut().zip(values) {
            if *valid && x.is_infinite() {
                return Err("holds an infinity".into());
            }
            *valid &= !x.is_nan();
        }
        Ok(())
    }

    fn words(&mut self, array: &ArrayRef) {
        let array = array.as_dictionary::<Int32Type>();
        if !self.dictionary.as_ref().is_some_and(|d| Arc::ptr_eq(d, array.values())) {
            self.words = Words::default();
            for word in array.values().as_string::<i32>() {
                self.words.push(word.unwrap_or("").as_bytes());
            }
            if self.words.is_empty() {
                self.words.push(b"");
            }
            self.dictionary = Some(array.values().clone());
        }
        self.codes.clear();
        self.codes.extend(array.keys().values().iter().map(|&code| code as u32));
    }

    fn column<'a>(&'a self, array: &'a ArrayRef) -> Column<'a> {
        let values = match array.data_type() {
            DataType::Int64 => Values::Int(array.as_primitive::<Int64Type>().values()),
            DataType::Float64 => Values::Float(array.as_primitive::<Float64Type>().values()),
            DataType::Float32 => Values::Float(&self.floats),
            DataType::Dictionary(..) => Values::Text(&self.codes, &self.words),
            _ => Values::Int(&self.ints),
        };
        Column { values, valid: self.nulls.then_some(&self.valid) }
    }
}
