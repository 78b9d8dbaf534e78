//! Bytes of a file → its rows, piece by piece, in memory that does not grow with the file.

use std::sync::Arc;

use super::{FILE_BYTES_MAX, FileError, Header, ROW_LINES_MAX, ROWS_MAX, Row, RowReader};
use crate::{
    catalog::{Catalog, Item},
    decode::TextDecoder,
    normalize::Encoding,
    value::Date,
};

/// 1 MiB in one row: hundreds of times the longest official one. More means an unclosed quotation mark or a file
/// without line ends.
const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Cells of one row that are told apart; a row this wide fits no heading.
const CELLS_MAX: usize = 4_096;

/// A row as it stands in the file.
#[derive(Clone)]
pub struct RawRow {
    number: u32,
    cells: ::csv::StringRecord,
}

impl RawRow {
    /// Its cells as they stand, for a digest over rows.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.cells.len()).map(|at| &self.cells[at])
    }
}

/// What the columns of a file are, once its heading is read. Rows can be read with it on any thread.
pub struct Layout(pub(super) Header);

impl Layout {
    /// Reads a row: a record, or what is wrong with it. `today` bounds decision dates.
    pub fn read(&self, item: &Item, today: Date, raw: &RawRow) -> Row {
        let mut reader = RowReader { item, today, row: raw.number, normalised: false, errors: Vec::new() };
        let plain = reader.read(&self.0, &raw.cells);
        let outcome = match plain {
            Some(plain) if reader.errors.is_empty() => Ok(plain),
            _ => Err(reader.errors),
        };
        Row { number: raw.number, outcome, normalised: reader.normalised }
    }
}

/// Reads a file of one item as its bytes come.
pub struct Reader<'a> {
    catalog: &'a Catalog,
    item: &'a Item,
    decoder: TextDecoder,
    /// The last character was a carriage return: a line feed after it is the same line end.
    after_return: bool,
    /// Decoded and not split yet.
    text: String,
    /// Known once the first line that is not blank is there: it tells the separator.
    splitter: Option<Splitter>,
    layout: Option<Arc<Layout>>,
    bytes: u64,
    rows: usize,
}

impl<'a> Reader<'a> {
    /// A reader before the first byte.
    pub fn new(catalog: &'a Catalog, item: &'a Item) -> Self {
        Self {
            catalog,
            item,
            decoder: TextDecoder::default(),
            after_return: false,
            text: String::new(),
            splitter: None,
            layout: None,
            bytes: 0,
            rows: 0,
        }
    }

    /// Takes the next bytes; returns the rows they complete, blank ones left out.
    ///
    /// Errors: [`FileError`] if the file as a whole cannot be read; nothing more can then be read of it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<RawRow>, FileError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > FILE_BYTES_MAX {
            return Err(FileError::TooLarge { bytes: self.bytes });
        }
        let mut text = String::new();
        self.decoder.push(bytes, &mut text).map_err(FileError::Text)?;
        self.take(&text);
        self.split(false)
    }

    /// Takes the end of the file; returns the rows it completes.
    ///
    /// Errors: as [`Reader::push`]; `Empty` for a file without a heading.
    pub fn finish(&mut self) -> Result<Vec<RawRow>, FileError> {
        let mut text = String::new();
        self.decoder.finish(&mut text).map_err(FileError::Text)?;
        self.take(&text);
        self.text.push('\n');
        let rows = self.split(true)?;
        if self.layout.is_none() { Err(FileError::Empty) } else { Ok(rows) }
    }

    /// What the columns are; there is one when there are rows.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.layout.as_ref()
    }

    /// How the file is encoded, as far as it was read.
    pub fn encoding(&self) -> Encoding {
        self.decoder.encoding()
    }

    /// One kind of line end, so that line numbers are right.
    fn take(&mut self, text: &str) {
        for c in text.chars() {
            let line_feed_of_return = core::mem::replace(&mut self.after_return, c == '\r') && c == '\n';
            if !line_feed_of_return {
                self.text.push(if c == '\r' { '\n' } else { c });
            }
        }
    }

    fn split(&mut self, last: bool) -> Result<Vec<RawRow>, FileError> {
        if self.splitter.is_none() {
            let heading = self.text.split_inclusive('\n').find(|line| !line.trim().is_empty());
            let Some(heading) = heading.filter(|line| line.ends_with('\n')) else {
                let endless = self.text.len() > ROW_BYTES_MAX && !last;
                return if endless { Err(FileError::RowTooLong { line: 1 }) } else { Ok(Vec::new()) };
            };
            let tabs = heading.matches('\t').count() > heading.matches(',').count();
            self.splitter = Some(Splitter::new(if tabs { b'\t' } else { b',' }));
        }
        let text = core::mem::take(&mut self.text);
        let mut rows = Vec::new();
        let (mut input, mut ended) = (text.as_bytes(), false);
        while let Some(splitter) = self.splitter.as_mut().filter(|_| !ended) {
            let row = match splitter.next(&mut input)? {
                Some(row) => row,
                None if !last => break,
                None => {
                    ended = true;
                    match splitter.end()? {
                        Some(row) => row,
                        None => break,
                    }
                }
            };
            if self.layout.is_none() {
                self.layout = Some(Arc::new(Layout(Header::read(&row.cells, self.catalog, self.item)?)));
                continue;
            }
            if row.cells.iter().all(|cell| cell.trim().is_empty()) {
                // Spreadsheets leave rows of bare separators behind.
                continue;
            }
            if self.rows == ROWS_MAX {
                return Err(FileError::TooManyRows);
            }
            self.rows += 1;
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Text → cells (RFC 4180, with what `csv-core` forgives), keeping half a row between two pieces.
struct Splitter {
    core: csv_core::Reader,
    out: Vec<u8>,
    written: usize,
    ends: Vec<usize>,
    cells: usize,
    /// Line on which the row in hand begins, empty lines before it counted as part of it.
    before: u64,
}

impl Splitter {
    fn new(delimiter: u8) -> Self {
        let core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        let (out, ends) = (vec![0; 4_096], vec![0; 64]);
        Self { core, out, written: 0, ends, cells: 0, before: 1 }
    }

    /// The next row of `input`, which is moved on; `None` when it has no end in there.
    fn next(&mut self, input: &mut &[u8]) -> Result<Option<RawRow>, FileError> {
        // An empty input would tell the splitter that the file ends.
        while !input.is_empty() {
            if let Some(row) = self.step(input)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The row that only the end of the file completes.
    fn end(&mut self) -> Result<Option<RawRow>, FileError> {
        loop {
            let more_room = (self.out.len(), self.ends.len());
            if let Some(row) = self.step(&mut &[][..])? {
                return Ok(Some(row));
            }
            if more_room == (self.out.len(), self.ends.len()) {
                return Ok(None);
            }
        }
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<RawRow>, FileError> {
        let line = u32::try_from(self.before).unwrap_or(u32::MAX);
        let (out, ends) = (&mut self.out[self.written..], &mut self.ends[self.cells..]);
        let (result, read, written, cells) = self.core.read_record(input, out, ends);
        *input = &input[read..];
        self.written += written;
        self.cells += cells;
        match result {
            csv_core::ReadRecordResult::Record => self.row().map(Some),
            csv_core::ReadRecordResult::OutputFull if self.out.len() < ROW_BYTES_MAX => {
                self.out.resize(self.out.len() * 2, 0);
                Ok(None)
            }
            csv_core::ReadRecordResult::OutputEndsFull if self.ends.len() < CELLS_MAX => {
                self.ends.resize(self.ends.len() * 2, 0);
                Ok(None)
            }
            csv_core::ReadRecordResult::OutputFull | csv_core::ReadRecordResult::OutputEndsFull => {
                Err(FileError::RowTooLong { line })
            }
            csv_core::ReadRecordResult::InputEmpty | csv_core::ReadRecordResult::End => Ok(None),
        }
    }

    fn row(&mut self) -> Result<RawRow, FileError> {
        let mut cells = ::csv::StringRecord::with_capacity(self.written, self.cells);
        let mut start = 0;
        for end in &self.ends[..self.cells] {
            // INVARIANT: the input is text and is cut at ASCII characters only, so every cell is text.
            cells.push_field(core::str::from_utf8(&self.out[start..*end]).unwrap_or_default());
            start = *end;
        }
        let inner: u64 = cells.iter().map(|cell| cell.matches('\n').count() as u64).sum();
        // Empty lines before a row count as part of it, so the start is counted back from the end.
        let line = self.core.line().saturating_sub(1 + inner).max(self.before);
        let number = u32::try_from(line).unwrap_or(u32::MAX);
        (self.written, self.cells, self.before) = (0, 0, self.core.line());
        if inner > ROW_LINES_MAX {
            return Err(FileError::RowTooLong { line: number });
        }
        Ok(RawRow { number, cells })
    }
}
