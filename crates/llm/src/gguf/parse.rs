//! The parser: bytes to keys and tensor descriptions, safe on hostile input.
//!
//! It never allocates by a count that the file states: arrays and strings stay where they are as byte ranges, and
//! each count is first held against the bytes that remain.

use std::collections::BTreeMap;
use std::ops::Range;

use super::LlmError;
use super::types::{Dialect, INTERLEAVED, TensorInfo, TensorType};
use super::value::{ElementType, Value};
use crate::interleave::Interleaving;

/// First bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// The version that is written. Version 2, which differs from it in nothing for little-endian files, is read as well.
pub const VERSION: u32 = 3;
/// The oldest version that is read.
const OLDEST_VERSION: u32 = 2;
/// Alignment of tensor data when the file states none.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// Real models have below a hundred keys; stops a file of millions of tiny keys from filling memory with them.
const MAXIMUM_METADATA_ENTRIES: u64 = 1 << 16;
/// The largest mixtures of experts stay below this; stops the same attack by tensor descriptions.
const MAXIMUM_TENSORS: u64 = 1 << 16;
/// The format's own limit; stops keys from being used as a memory filler.
const MAXIMUM_KEY_BYTES: u64 = (1 << 16) - 1;
/// The format allows 64; some converters exceed it slightly. Stops names from being used as a memory filler.
const MAXIMUM_TENSOR_NAME_BYTES: u64 = 256;
/// The format's own limit; stops a loop over four billion extents.
const MAXIMUM_DIMENSIONS: u32 = 4;
/// Far above a page; stops an alignment that moves the data start by terabytes.
const MAXIMUM_ALIGNMENT: u64 = 1 << 20;
/// Smallest bytes of a metadata entry: key length, value type, one-byte value.
const MINIMUM_ENTRY_BYTES: u64 = 8 + 4 + 1;
/// Smallest bytes of a tensor description: name length, dimension count, one extent, type, offset.
const MINIMUM_TENSOR_BYTES: u64 = 8 + 4 + 8 + 4 + 8;

/// What the header of a file says.
pub(super) struct Parsed {
    pub metadata: BTreeMap<String, Value>,
    /// Where the descriptions of the tensors begin.
    pub descriptions: usize,
    pub tensors: Vec<TensorInfo>,
    pub index: BTreeMap<String, usize>,
}

/// A position in the file's bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    fn remaining(&self) -> u64 {
        self.bytes.len().saturating_sub(self.position) as u64
    }

    fn error(&self, problem: impl Into<String>) -> LlmError {
        LlmError::Format { offset: self.position as u64, problem: problem.into() }
    }

    fn range(&mut self, length: u64, what: &str) -> Result<Range<usize>, LlmError> {
        if length > self.remaining() {
            return Err(self.error(format!(
                "{what} takes {length} bytes but only {} remain in the file",
                self.remaining()
            )));
        }
        // `length` is at most the length of a slice, so it fits `usize` and the sum cannot overflow.
        let range = self.position..self.position + length as usize;
        self.position = range.end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], LlmError> {
        let range = self.range(N as u64, what)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[range]);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, LlmError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, LlmError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(super) fn string(&mut self, what: &str) -> Result<Range<usize>, LlmError> {
        let length = self.u64(what)?;
        self.range(length, what)
    }

    /// A string that is kept: limited in length, and UTF-8.
    fn name(&mut self, what: &str, maximum: u64) -> Result<String, LlmError> {
        let start = self.position;
        let length = self.u64(what)?;
        if length > maximum {
            self.position = start;
            return Err(self.error(format!("{what} has {length} bytes where at most {maximum} are allowed")));
        }
        let range = self.range(length, what)?;
        match std::str::from_utf8(&self.bytes[range]) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => {
                self.position = start;
                Err(self.error(format!("{what} is not UTF-8")))
            }
        }
    }

    fn value(&mut self, key: &str) -> Result<Value, LlmError> {
        let type_position = self.position;
        let id = self.u32("a value type")?;
        match id {
            8 => Ok(Value::String(self.string("a string value")?)),
            9 => self.array_value(key),
            _ => {
                let Some(element) = ElementType::scalar(id) else {
                    self.position = type_position;
                    return Err(self.error(format!("key `{key}` has the unknown value type {id}")));
                };
                let range = self.range(element.bytes(), "a value")?;
                if element == ElementType::Bool && self.bytes[range.start] > 1 {
                    self.position = range.start;
                    return Err(self.error(format!("key `{key}` holds a boolean that is neither 0 nor 1")));
                }
                Ok(Value::Scalar(element, range))
            }
        }
    }

    fn array_value(&mut self, key: &str) -> Result<Value, LlmError> {
        let start = self.position;
        let id = self.u32("an array's element type")?;
        let count = self.u64("an array's length")?;
        let element = if id == 8 { Some(ElementType::String) } else { ElementType::scalar(id) };
        let Some(element) = element else {
            self.position = start;
            // Nested arrays are legal GGUF that no model uses; refusing them keeps the parser free of recursion.
            let what = if id == 9 { "nested arrays".to_owned() } else { format!("elements of type {id}") };
            return Err(self.error(format!("key `{key}` is an array of {what}, which is not supported")));
        };
        let minimum = count.checked_mul(element.bytes());
        if minimum.is_none_or(|bytes| bytes > self.remaining()) {
            return Err(self.error(format!(
                "key `{key}` states {count} array elements but only {} bytes remain",
                self.remaining()
            )));
        }
        let first = self.position;
        if element == ElementType::String {
            for _ in 0..count {
                self.string("an array's string")?;
            }
        } else {
            self.range(count * element.bytes(), "an array")?;
        }
        Ok(Value::Array(element, count, first..self.position))
    }

    fn tensor(&mut self, dialect: Dialect<'_>) -> Result<TensorInfo, LlmError> {
        let name = self.name("a tensor name", MAXIMUM_TENSOR_NAME_BYTES)?;
        let dimensions = self.u32("a dimension count")?;
        if dimensions == 0 || dimensions > MAXIMUM_DIMENSIONS {
            return Err(self.error(format!(
                "tensor `{name}` has {dimensions} dimensions where 1 to {MAXIMUM_DIMENSIONS} are allowed"
            )));
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        let mut elements = 1u64;
        for _ in 0..dimensions {
            let extent = self.u64("an extent")?;
            elements = elements.saturating_mul(extent);
            shape.push(extent);
        }
        if elements == 0 || elements > i64::MAX as u64 {
            return Err(self.error(format!("tensor `{name}` has the impossible shape {shape:?}")));
        }
        let id = self.u32("a tensor type")?;
        let interleaved = id & INTERLEAVED != 0;
        let Some(tensor_type) = dialect.tensor_type(id & !INTERLEAVED) else {
            return Err(self.error(format!("tensor `{name}` has the unknown type {id}")));
        };
        let offset = self.u64("a tensor offset")?;
        let mut info = TensorInfo { name, shape, tensor_type, interleaved, shard: 0, offset, bytes: 0 };
        if !matches!(tensor_type, TensorType::Other(_)) {
            info.bytes = tensor_type.tensor_bytes(info.columns(), info.rows()).ok_or_else(|| {
                self.error(format!(
                    "tensor `{}` of type {} has rows of {} elements, which is not a whole number of blocks",
                    info.name,
                    tensor_type.name(),
                    info.columns()
                ))
            })?;
        }
        let rows = info.rows() as usize;
        if interleaved && !Interleaving::of(&info).is_some_and(|interleaving| interleaving.is_in_place(rows))
        {
            let (name, tensor_type) = (&info.name, tensor_type.name());
            let problem =
                format!("tensor `{name}`, {rows} rows of type {tensor_type}, cannot be interleaved");
            return Err(self.error(problem));
        }
        Ok(info)
    }
}

/// Reads everything before the tensor data, and checks that each tensor lies in the file and apart from the others.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, LlmError> {
    let mut reader = Reader::new(bytes, 0);
    let magic: [u8; 4] = reader.array("the magic number")?;
    if magic != MAGIC {
        return Err(LlmError::Format { offset: 0, problem: "it does not start with `GGUF`".into() });
    }
    let version = reader.u32("the version")?;
    let known = OLDEST_VERSION..=VERSION;
    if !known.contains(&version) {
        let problem = if known.contains(&version.swap_bytes()) {
            "it is a big-endian file, and only little-endian is supported".into()
        } else {
            format!("it has version {version}, and only {OLDEST_VERSION} to {VERSION} are supported")
        };
        return Err(LlmError::Format { offset: 4, problem });
    }
    let tensor_count = reader.u64("the tensor count")?;
    let entry_count = reader.u64("the metadata count")?;
    check_count(&reader, "metadata entries", entry_count, MAXIMUM_METADATA_ENTRIES, MINIMUM_ENTRY_BYTES)?;
    check_count(&reader, "tensors", tensor_count, MAXIMUM_TENSORS, MINIMUM_TENSOR_BYTES)?;

    let mut metadata = BTreeMap::new();
    for _ in 0..entry_count {
        let start = reader.position as u64;
        let key = reader.name("a metadata key", MAXIMUM_KEY_BYTES)?;
        let value = reader.value(&key)?;
        if metadata.contains_key(&key) {
            return Err(LlmError::Format { offset: start, problem: format!("the key `{key}` occurs twice") });
        }
        metadata.insert(key, value);
    }

    let dialect = dialect(bytes, &metadata);
    let descriptions = reader.position;
    let mut tensors = Vec::new();
    let mut index = BTreeMap::new();
    for number in 0..tensor_count as usize {
        let start = reader.position as u64;
        let tensor = reader.tensor(dialect)?;
        if index.insert(tensor.name.clone(), number).is_some() {
            let problem = format!("the tensor `{}` occurs twice", tensor.name);
            return Err(LlmError::Format { offset: start, problem });
        }
        tensors.push(tensor);
    }

    let alignment = alignment(bytes, &metadata)?;
    let data_start = (reader.position as u64).next_multiple_of(alignment);
    place(&mut tensors, data_start, alignment, bytes.len() as u64)?;
    Ok(Parsed { metadata, descriptions, tensors, index })
}

/// What decides the meaning of type numbers, as far as it is there; whoever needs it complains if it is not.
fn dialect<'a>(bytes: &'a [u8], metadata: &BTreeMap<String, Value>) -> Dialect<'a> {
    let architecture = match metadata.get("general.architecture") {
        Some(Value::String(range)) => std::str::from_utf8(&bytes[range.clone()]).ok(),
        _ => None,
    };
    let file_type = metadata.get("general.file_type").and_then(|value| value.integer(bytes));
    Dialect { architecture, file_type: file_type.and_then(|kind| u32::try_from(kind).ok()) }
}

fn check_count(reader: &Reader<'_>, what: &str, count: u64, maximum: u64, each: u64) -> Result<(), LlmError> {
    if count > maximum {
        return Err(reader.error(format!("it states {count} {what} where at most {maximum} are allowed")));
    }
    if count * each > reader.remaining() {
        return Err(reader.error(format!(
            "it states {count} {what} but only {} bytes remain; it is probably cut off",
            reader.remaining()
        )));
    }
    Ok(())
}

fn alignment(bytes: &[u8], metadata: &BTreeMap<String, Value>) -> Result<u64, LlmError> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    match value.integer(bytes).and_then(|alignment| u64::try_from(alignment).ok()) {
        Some(alignment) if alignment.is_power_of_two() && (8..=MAXIMUM_ALIGNMENT).contains(&alignment) => {
            Ok(alignment)
        }
        _ => Err(LlmError::WrongValue {
            key: "general.alignment".into(),
            expected: format!("a power of two from 8 to {MAXIMUM_ALIGNMENT}"),
            found: value.describe(bytes),
        }),
    }
}

/// Turns offsets relative to the data start into offsets in the file, and checks every range.
fn place(tensors: &mut [TensorInfo], data_start: u64, alignment: u64, length: u64) -> Result<(), LlmError> {
    for tensor in tensors.iter_mut() {
        let fail = |problem: String| Err(LlmError::Format { offset: data_start, problem });
        if tensor.offset % alignment != 0 {
            return fail(format!(
                "tensor `{}` starts at {}, which is not a multiple of {alignment}",
                tensor.name, tensor.offset
            ));
        }
        let start = data_start.checked_add(tensor.offset);
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= length => tensor.offset = start,
            _ => {
                return fail(format!(
                    "tensor `{}` of {} bytes lies outside the file of {length} bytes; it is probably cut off",
                    tensor.name, tensor.bytes
                ));
            }
        }
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().filter(|tensor| tensor.bytes > 0).collect();
    order.sort_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(LlmError::Format {
                offset: pair[1].offset,
                problem: format!("the tensors `{}` and `{}` overlap", pair[0].name, pair[1].name),
            });
        }
    }
    Ok(())
}
