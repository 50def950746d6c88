//! The pages of a row group of Parquet, in memory at once.
//!
//! The library reads page by page, each header byte by byte from the file, and gets memory anew for each page that it
//! unpacks. Here each column of a row group is read by one call, and pages of numbers of eight bytes that Snappy packed
//! are unpacked by [`super::snappy`], two at a time, into memory that is used again. Where they hold codes of a
//! dictionary, [`super::codes`] puts the numbers in their place. The rest is the library's, and so is a row group that is
//! too large for this.

use super::codes;
use super::snappy::{self, Damage, Job};
use crate::files::PlainFile;
use ::parquet::arrow::ProjectionMask;
use ::parquet::basic::{Compression, Encoding, Type};
use ::parquet::bloom_filter::Sbbf;
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::metadata::{ColumnChunkMetaData, FileMetaData, ParquetMetaData, RowGroupMetaData};
use ::parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader};
use ::parquet::file::serialized_reader::SerializedPageReader;
use ::parquet::record::reader::RowIter;
use ::parquet::schema::types::Type as SchemaType;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Columns that have more bytes than this together, packed and unpacked, are not kept in memory.
const MOST: i64 = 16 << 20;

/// Memory for columns and pages. Once a row group's readers are gone, [`Memory::reclaim`] has it back.
#[derive(Default)]
pub(super) struct Memory {
    free: Vec<Vec<u8>>,
    lent: Vec<Bytes>,
}

impl Memory {
    /// So many bytes, whatever they hold.
    fn take(&mut self, length: usize) -> Vec<u8> {
        let fits = self.free.iter().enumerate().filter(|(_, memory)| memory.capacity() >= length);
        let mut memory = match fits.min_by_key(|(_, memory)| memory.capacity()) {
            Some((nth, _)) => self.free.swap_remove(nth),
            // The same column takes a little more in another row group.
            None => Vec::with_capacity(length + length / 8),
        };
        memory.resize(length, 0);
        memory
    }

    fn lend(&mut self, memory: Vec<u8>) -> Bytes {
        self.lent.push(memory.into());
        self.lent[self.lent.len() - 1].clone()
    }

    /// Makes what was lent free again, as far as nobody holds it and it is not too much.
    pub(super) fn reclaim(&mut self) {
        self.free.extend(self.lent.drain(..).filter(Bytes::is_unique).map(Vec::from));
        let mut kept = 0;
        self.free.retain(|memory| {
            kept += memory.capacity();
            kept <= MOST as usize
        });
    }
}

/// A row group, as a file of its own.
pub(super) struct RowGroup {
    metadata: ParquetMetaData,
    /// For each column of the file what reads its pages, until that is asked for; none for those that were not read.
    readers: Vec<Mutex<Option<Box<dyn PageReader>>>>,
}

impl RowGroup {
    /// Reads the columns of a row group that `mask` tells, if they are not too large.
    ///
    /// # Errors
    /// When the file cannot be read, or pages are damaged.
    pub(super) fn read(
        file: &PlainFile,
        metadata: &ParquetMetaData,
        block: usize,
        mask: &ProjectionMask,
        memory: &mut Memory,
    ) -> Result<Option<RowGroup>> {
        let group = metadata.row_group(block);
        let columns: Vec<usize> = (0..group.num_columns()).filter(|&nth| mask.leaf_included(nth)).collect();
        let sizes = columns.iter().map(|&nth| bytes(group.column(nth)));
        if sizes.fold(0, i64::saturating_add) > MOST {
            return Ok(None);
        }
        let rows = group.num_rows().max(0) as usize;
        let mut readers: Vec<_> = (0..group.num_columns()).map(|_| Mutex::new(None)).collect();
        let mut numbers = Vec::new();
        for nth in columns {
            let column = group.column(nth);
            let chunk = Arc::new(Chunk::read(file, column, memory)?);
            if !is_number(column) {
                let reader = SerializedPageReader::new(chunk, column, rows, None)?;
                readers[nth] = Mutex::new(Some(Box::new(reader) as Box<dyn PageReader>));
                continue;
            }
            let mut kept = column.clone().into_builder();
            if is_ours(column) {
                kept = kept.set_compression(Compression::UNCOMPRESSED);
            }
            let pages = SerializedPageReader::new(chunk, &kept.build()?, rows, None)?;
            numbers.push((nth, pages.collect::<Result<VecDeque<Page>>>()?));
        }
        let ours = numbers.iter_mut().filter(|(nth, _)| is_ours(group.column(*nth)));
        unpack(ours.flat_map(|(_, pages)| pages), memory)
            .map_err(|why| ParquetError::External(Box::new(why)))?;
        for (nth, mut pages) in numbers {
            let column = group.column(nth).column_descr();
            let plain = codes::replaced(column, rows, &pages, |length| memory.take(length));
            for (at, plain) in plain.into_iter().flatten() {
                set(&mut pages[at], memory.lend(plain), Some(Encoding::PLAIN));
            }
            readers[nth] = Mutex::new(Some(Box::new(Pages(pages))));
        }
        let whole = metadata.file_metadata();
        let file = FileMetaData::new(
            whole.version(),
            group.num_rows(),
            None,
            None,
            whole.schema_descr_ptr(),
            whole.column_orders().cloned(),
        );
        Ok(Some(RowGroup { metadata: ParquetMetaData::new(file, vec![group.clone()]), readers }))
    }
}

/// How much a column takes in memory; very much where the file says what cannot be.
fn bytes(column: &ColumnChunkMetaData) -> i64 {
    let numbers = if is_number(column) { column.num_values().saturating_mul(8) } else { 0 };
    let said = [column.compressed_size(), column.uncompressed_size(), column.data_page_offset(), numbers];
    if said.into_iter().chain(column.dictionary_page_offset()).any(|number| number < 0) {
        return i64::MAX;
    }
    column.compressed_size().saturating_add(column.uncompressed_size()).saturating_add(numbers)
}

fn is_number(column: &ColumnChunkMetaData) -> bool {
    matches!(column.column_type(), Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE)
}

/// Whether its pages are unpacked here.
fn is_ours(column: &ColumnChunkMetaData) -> bool {
    column.compression() == Compression::SNAPPY && matches!(column.column_type(), Type::INT64 | Type::DOUBLE)
}

/// Gives a page another content, and maybe another encoding.
fn set(page: &mut Page, content: Bytes, other: Option<Encoding>) {
    match page {
        Page::DataPage { buf, encoding, .. }
        | Page::DataPageV2 { buf, encoding, .. }
        | Page::DictionaryPage { buf, encoding, .. } => {
            *buf = content;
            *encoding = other.unwrap_or(*encoding);
        }
    }
}

/// The text of a page, and where it goes.
struct Text<'a> {
    page: &'a mut Page,
    packed: Bytes,
    /// Its levels, which are not packed, and behind them what is unpacked.
    plain: Vec<u8>,
    levels: usize,
}

impl Text<'_> {
    fn job(&mut self) -> Job<'_> {
        Job { packed: &self.packed, plain: &mut self.plain[self.levels..] }
    }
}

/// Unpacks pages.
fn unpack<'a>(
    pages: impl Iterator<Item = &'a mut Page>,
    memory: &mut Memory,
) -> std::result::Result<(), Damage> {
    let mut texts = Vec::new();
    for page in pages {
        let levels = match page {
            Page::DataPage { .. } | Page::DictionaryPage { .. } => 0,
            Page::DataPageV2 { is_compressed: false, .. } => continue,
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                *def_levels_byte_len as usize + *rep_levels_byte_len as usize
            }
        };
        let whole = page.buffer().clone();
        let (front, text) = whole.split_at_checked(levels).ok_or(Damage::Text)?;
        // A page without a value may have no text at all.
        let (length, packed) = if text.is_empty() { (0, text) } else { snappy::length(text)? };
        let mut plain = memory.take(levels + length);
        plain[..levels].copy_from_slice(front);
        texts.push(Text { page, packed: whole.slice_ref(packed), plain, levels });
    }
    // Two of about the same length have the most of it.
    texts.sort_by_key(|text| std::cmp::Reverse(text.plain.len()));
    for some in texts.chunks_mut(2) {
        match some {
            [a, b] => snappy::two(a.job(), b.job())?,
            rest => rest.iter_mut().try_for_each(|text| snappy::one(text.job()))?,
        }
    }
    texts.into_iter().for_each(|text| set(text.page, memory.lend(text.plain), None));
    Ok(())
}

/// A column of a row group as it lies in the file.
struct Chunk {
    /// Where it begins there.
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn read(file: &PlainFile, column: &ColumnChunkMetaData, memory: &mut Memory) -> Result<Chunk> {
        let (start, length) = column.byte_range();
        let mut bytes = memory.take(length as usize);
        match bytes.len() - file.read_at(&mut bytes, start)? {
            0 => Ok(Chunk { start, bytes: memory.lend(bytes) }),
            missing => Err(ParquetError::EOF(format!("the file ends {missing} bytes too early"))),
        }
    }

    fn at(&self, place: u64) -> Result<u64> {
        place.checked_sub(self.start).ok_or_else(|| ParquetError::EOF("a page lies before its column".into()))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.bytes.get_read(self.at(start)?)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.bytes.get_bytes(self.at(start)?, length)
    }
}

/// Pages that are unpacked.
struct Pages(VecDeque<Page>);

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.0.pop_front().map(Ok)
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        Ok(self.0.pop_front())
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Ok(self.0.front().map(|page| {
            let num_rows = match page {
                Page::DataPageV2 { num_rows, .. } => Some(*num_rows as usize),
                _ => None,
            };
            let is_dict = page.is_dictionary_page();
            PageMetadata { num_rows, num_levels: (!is_dict).then(|| page.num_values() as usize), is_dict }
        }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.pop_front();
        Ok(())
    }
}

impl FileReader for RowGroup {
    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    fn num_row_groups(&self) -> usize {
        1
    }

    fn get_row_group(&self, _: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(Columns(self)))
    }

    fn get_row_iter(&self, projection: Option<SchemaType>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

/// The columns of a row group.
struct Columns<'a>(&'a RowGroup);

impl RowGroupReader for Columns<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata.row_group(0)
    }

    fn num_columns(&self) -> usize {
        self.0.readers.len()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let reader = self.0.readers[i].lock().expect("nobody panics with it").take();
        Ok(reader.unwrap_or_else(|| Box::new(Pages(VecDeque::new()))))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<SchemaType>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::parquet::arrow::ArrowWriter;
    use ::parquet::arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    };
    use ::parquet::arrow::parquet_to_arrow_field_levels;
    use ::parquet::file::properties::{WriterProperties, WriterVersion};
    use arrow_array::{
        ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    };
    use proptest::prelude::*;

    fn table(numbers: &[Option<u32>]) -> RecordBatch {
        let each = || numbers.iter().copied();
        let columns: [(&str, ArrayRef); 6] = [
            ("i", Arc::new(Int32Array::from_iter(each().map(|x| x.map(|x| x as i32))))),
            ("l", Arc::new(Int64Array::from_iter(each().map(|x| x.map(|x| i64::from(x) * 7 - 99))))),
            ("all", Arc::new(Int64Array::from_iter_values(each().map(|x| x.map_or(-1, i64::from))))),
            ("f", Arc::new(Float32Array::from_iter(each().map(|x| x.map(|x| x as f32 / 8.0))))),
            ("d", Arc::new(Float64Array::from_iter(each().map(|x| x.map(|x| f64::from(x) / 1000.0))))),
            ("t", Arc::new(StringArray::from_iter(each().map(|x| x.map(|x| x.to_string()))))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, name != "all")))
            .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn columns_are_read_as_the_library_reads_them(
            numbers in (1u32..100_000, 0.0..1.0f64).prop_flat_map(|(most, there)| {
                prop::collection::vec(prop::option::weighted(there.max(0.01), 0..most), 1..4000)
            }),
            dictionary in any::<bool>(),
            version in prop_oneof![Just(WriterVersion::PARQUET_1_0), Just(WriterVersion::PARQUET_2_0)],
            codec in prop_oneof![Just(Compression::SNAPPY), Just(Compression::UNCOMPRESSED)],
            page_rows in 1usize..3000,
            group_rows in 500usize..4000,
        ) {
            let whole = table(&numbers);
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_dictionary_enabled(dictionary)
                .set_dictionary_page_size_limit(4000)
                .set_writer_version(version)
                .set_data_page_row_count_limit(page_rows)
                .set_write_batch_size(page_rows.min(64))
                .set_max_row_group_row_count(Some(group_rows));
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), whole.schema(), Some(properties.build())).unwrap();
            writer.write(&whole).unwrap();
            writer.close().unwrap();
            let plain = PlainFile::open(file.path()).unwrap();
            let metadata = ArrowReaderMetadata::load(&file.reopen().unwrap(), ArrowReaderOptions::new()).unwrap();
            let mut memory = Memory::default();
            for (roots, group) in [vec![0, 1, 2, 3, 4, 5], vec![4], vec![1, 5]].iter().zip((0..metadata.metadata().num_row_groups()).cycle()) {
                let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied());
                let ours = RowGroup::read(&plain, metadata.metadata(), group, &mask, &mut memory).unwrap().unwrap();
                let ours: Arc<dyn FileReader> = Arc::new(ours);
                let levels = parquet_to_arrow_field_levels(metadata.parquet_schema(), mask.clone(), Some(metadata.schema().fields())).unwrap();
                let ours = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &ours, 300, None).unwrap();
                let theirs = ParquetRecordBatchReaderBuilder::new_with_metadata(file.reopen().unwrap(), metadata.clone())
                    .with_row_groups(vec![group])
                    .with_projection(mask)
                    .with_batch_size(300)
                    .build()
                    .unwrap();
                let ours: Vec<RecordBatch> = ours.map(|batch| batch.unwrap()).collect();
                let theirs: Vec<RecordBatch> = theirs.map(|batch| batch.unwrap()).collect();
                prop_assert_eq!(ours, theirs);
                memory.reclaim();
            }
        }
    }

    #[test]
    fn memory_is_used_again_and_no_more_than_enough_is_kept() {
        let mut memory = Memory::default();
        let taken = memory.take(1000);
        let place = taken.as_ptr();
        drop(memory.lend(taken));
        memory.reclaim();
        let taken = memory.take(900);
        assert_eq!(taken.as_ptr(), place);
        let held = memory.take(1000);
        let held = memory.lend(held);
        let large = memory.take(MOST as usize + 1);
        drop(memory.lend(large));
        memory.reclaim();
        assert!(memory.free.is_empty() && held.len() == 1000);
    }
}
