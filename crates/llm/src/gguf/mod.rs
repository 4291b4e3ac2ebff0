//! The GGUF container, versions 2 and 3: metadata and tensors, read from a memory map, owned or static bytes.
//!
//! - [`Gguf`]: an open file, or all files of a model that is split; typed access to metadata, tensors as byte ranges.
//! - [`TensorInfo`], [`TensorType`]: what a tensor is.
//! - [`GgufWriter`]: writes a file, tensors streamed one after the other.
//!
//! Invariant: once a [`Gguf`] exists, every byte range in it lies inside the file and no two tensors overlap.

mod identity;
mod parse;
mod split;
mod types;
mod value;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use crate::LlmError;
use crate::host::FileMap;
use parse::Reader;
pub use parse::{DEFAULT_ALIGNMENT, MAGIC, VERSION};
pub(crate) use types::INTERLEAVED;
pub(crate) use types::Place;
pub use types::{I2S_TRAILER_BYTES, I2sPacking, TensorInfo, TensorType};
use value::{ElementType, Value};
pub use write::{GgufWriter, MetadataValue, TensorSpecification};

/// Where the bytes of a file are.
enum Storage {
    Map(FileMap),
    Owned(Vec<u8>),
    Static(&'static [u8]),
}

/// An open GGUF file, or all files of a model that is split.
pub struct Gguf {
    /// At least one; the first has the metadata.
    shards: Vec<Storage>,
    metadata: BTreeMap<String, Value>,
    /// Where the descriptions of the tensors begin in the first file.
    descriptions: usize,
    tensors: Vec<TensorInfo>,
    index: BTreeMap<String, usize>,
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gguf")
            .field("bytes", &self.file_bytes())
            .field("metadata", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .finish()
    }
}

impl Gguf {
    /// Maps the file at `path` and reads its header. If it is one of the files of a split model, whose names end in
    /// `-00001-of-000NN.gguf` and so on, the others are opened beside it.
    ///
    /// # Errors
    /// [`LlmError::Open`], [`LlmError::Format`]; [`LlmError::Shard`] when the files do not belong together.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LlmError> {
        let path = path.as_ref();
        let shard = Self::open_one(path)?;
        if shard.is_shard()? { split::open(path, shard) } else { Ok(shard) }
    }

    fn open_one(path: &Path) -> Result<Self, LlmError> {
        let fail = |source| LlmError::Open { path: path.to_owned(), source };
        // An empty file cannot be mapped everywhere.
        let metadata = std::fs::metadata(path).map_err(fail)?;
        if metadata.is_file() && metadata.len() == 0 {
            return Err(LlmError::Format { offset: 0, problem: "it is empty".into() });
        }
        Self::from_storage(Storage::Map(FileMap::open(path).map_err(fail)?))
    }

    /// Reads a file that is in memory. A model loaded from it rearranges its weights where they are, if nobody else
    /// holds it: they are in memory once.
    ///
    /// # Errors
    /// [`LlmError::Format`]; [`LlmError::Shard`] for one of several files of a split model.
    pub fn from_vec(bytes: Vec<u8>) -> Result<Self, LlmError> {
        Self::from_shards(vec![bytes])
    }

    /// Reads a file that is part of the program.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, LlmError> {
        Self::from_storage(Storage::Static(bytes))
    }

    /// Reads the files of a split model that are in memory, in their order.
    ///
    /// # Errors
    /// [`LlmError::Format`]; [`LlmError::Shard`] when the files do not belong together.
    pub fn from_shards(files: Vec<Vec<u8>>) -> Result<Self, LlmError> {
        let shards = files.into_iter().map(|file| Self::from_storage(Storage::Owned(file)));
        split::join(shards.collect::<Result<_, _>>()?)
    }

    fn from_storage(storage: Storage) -> Result<Self, LlmError> {
        let parsed = parse::parse(storage.bytes())?;
        let mut gguf = Self {
            shards: vec![storage],
            metadata: parsed.metadata,
            descriptions: parsed.descriptions,
            tensors: parsed.tensors,
            index: parsed.index,
        };
        gguf.pack_i2s_as_stated()?;
        Ok(gguf)
    }

    /// Takes I2_S tensors as packed as the metadata says, if it does.
    fn pack_i2s_as_stated(&mut self) -> Result<(), LlmError> {
        let Some(name) = self.get_string(I2sPacking::KEY)? else { return Ok(()) };
        let Some(packing) = I2sPacking::by_name(name) else {
            return Err(LlmError::WrongValue {
                key: I2sPacking::KEY.into(),
                expected: "`x86` or `arm`".into(),
                found: format!("`{}`", name.escape_debug()),
            });
        };
        self.set_i2s_packing(packing);
        Ok(())
    }

    /// Takes all I2_S tensors as packed so, whatever the metadata says; before a model is loaded from them.
    pub fn set_i2s_packing(&mut self, packing: I2sPacking) {
        for tensor in &mut self.tensors {
            if let TensorType::I2S(current) = &mut tensor.tensor_type {
                *current = packing;
            }
        }
    }

    /// How I2_S tensors are taken as packed, if there are any, and whether the metadata says so.
    pub fn i2s_packing(&self) -> Option<(I2sPacking, bool)> {
        let stated = self.metadata.contains_key(I2sPacking::KEY);
        self.tensors.iter().find_map(|tensor| match tensor.tensor_type {
            TensorType::I2S(packing) => Some((packing, stated)),
            _ => None,
        })
    }

    /// Whether this is one of several files, and the others are missing.
    pub(crate) fn is_shard(&self) -> Result<bool, LlmError> {
        Ok(split::count(self)? > self.shards.len())
    }

    /// All bytes of the file; of a split model, of the first one.
    fn bytes(&self) -> &[u8] {
        self.shards.first().map(Storage::bytes).unwrap_or_default()
    }

    /// Where the type of each tensor is written, in the tensors' order, if the model is in one file.
    pub(crate) fn type_positions(&self) -> impl Iterator<Item = usize> {
        let mut position = self.descriptions;
        self.tensors.iter().map(move |tensor| {
            // The length of the name, the name, the number of extents, the extents.
            let at = position + 8 + tensor.name.len() + 4 + 8 * tensor.shape.len();
            // The type and the place.
            position = at + 4 + 8;
            at
        })
    }

    /// All bytes of each file: one, unless the model is split.
    pub fn shards(&self) -> impl Iterator<Item = &[u8]> {
        self.shards.iter().map(Storage::bytes)
    }

    /// Bytes of all files together.
    pub fn file_bytes(&self) -> usize {
        self.shards().map(<[u8]>::len).sum()
    }

    /// The metadata keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// All tensors, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`, if there is one.
    pub fn get_tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|&number| &self.tensors[number])
    }

    /// The tensor called `name`; an error if there is none.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo, LlmError> {
        self.get_tensor(name).ok_or_else(|| LlmError::MissingTensor { name: name.to_owned() })
    }

    /// The bytes of `tensor`, which is one of this file's.
    pub fn tensor_bytes(&self, tensor: &TensorInfo) -> &[u8] {
        self.at(&tensor.place(usize::try_from(tensor.bytes).unwrap_or(usize::MAX)))
    }

    /// The bytes at a place of one of this model's tensors.
    pub(crate) fn at(&self, place: &Place) -> &[u8] {
        let shard = self.shards.get(place.shard).map(Storage::bytes).unwrap_or_default();
        shard.get(place.range.clone()).unwrap_or_default()
    }

    /// The bytes at a place, to be rearranged, if they are this value's own memory.
    pub(crate) fn own_bytes_at(&mut self, place: &Place) -> Option<&mut [u8]> {
        match self.shards.get_mut(place.shard)? {
            Storage::Owned(bytes) => bytes.get_mut(place.range.clone()),
            Storage::Map(_) | Storage::Static(_) => None,
        }
    }

    /// Tells the system that the bytes of `tensor` are not needed any more: they are dropped from this process's
    /// memory, and read again from the file if they are touched. Does nothing for files that are not mapped.
    pub fn release(&self, tensor: &TensorInfo) {
        if let Some(Storage::Map(map)) = self.shards.get(tensor.shard) {
            map.release(tensor.place(tensor.bytes as usize).range);
        }
    }

    fn missing(key: &str) -> LlmError {
        LlmError::MissingKey { key: key.to_owned() }
    }

    fn wrong(&self, key: &str, expected: &str, value: &Value) -> LlmError {
        LlmError::WrongValue {
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: value.describe(self.bytes()),
        }
    }

    /// The string of `key`, if the key exists.
    pub fn get_string(&self, key: &str) -> Result<Option<&str>, LlmError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let Value::String(range) = value else { return Err(self.wrong(key, "a string", value)) };
        match std::str::from_utf8(&self.bytes()[range.clone()]) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(LlmError::WrongValue {
                key: key.to_owned(),
                expected: "UTF-8 text".into(),
                found: "bytes that are not UTF-8".into(),
            }),
        }
    }

    /// The string of `key`.
    pub fn string(&self, key: &str) -> Result<&str, LlmError> {
        self.get_string(key)?.ok_or_else(|| Self::missing(key))
    }

    /// The integer of `key`, of any width, if the key exists and the integer fits.
    pub fn get_u32(&self, key: &str) -> Result<Option<u32>, LlmError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        match value.integer(self.bytes()).and_then(|integer| u32::try_from(integer).ok()) {
            Some(integer) => Ok(Some(integer)),
            None => Err(self.wrong(key, "an integer from 0 to 4294967295", value)),
        }
    }

    /// The integer of `key`.
    pub fn u32(&self, key: &str) -> Result<u32, LlmError> {
        self.get_u32(key)?.ok_or_else(|| Self::missing(key))
    }

    /// The float of `key`, of either width, if the key exists.
    pub fn get_f32(&self, key: &str) -> Result<Option<f32>, LlmError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        if let Value::Scalar(element, range) = value
            && let Some(float) = element.float(&self.bytes()[range.clone()])
        {
            return Ok(Some(float as f32));
        }
        Err(self.wrong(key, "a floating-point number", value))
    }

    /// The float of `key`.
    pub fn f32(&self, key: &str) -> Result<f32, LlmError> {
        self.get_f32(key)?.ok_or_else(|| Self::missing(key))
    }

    /// The boolean of `key`, if the key exists.
    pub fn get_bool(&self, key: &str) -> Result<Option<bool>, LlmError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        match value {
            Value::Scalar(ElementType::Bool, range) => Ok(Some(self.bytes()[range.start] == 1)),
            _ => Err(self.wrong(key, "a boolean", value)),
        }
    }

    /// The boolean of `key`.
    pub fn bool(&self, key: &str) -> Result<bool, LlmError> {
        self.get_bool(key)?.ok_or_else(|| Self::missing(key))
    }

    /// The strings of `key`, if the key exists.
    pub fn get_strings(&self, key: &str) -> Result<Option<Vec<&str>>, LlmError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let Value::Array(ElementType::String, count, range) = value else {
            return Err(self.wrong(key, "an array of strings", value));
        };
        let mut reader = Reader::new(&self.bytes()[..range.end], range.start);
        let mut strings = Vec::new();
        for number in 0..*count {
            let text = reader.string("an array's string")?;
            match std::str::from_utf8(&self.bytes()[text]) {
                Ok(text) => strings.push(text),
                Err(_) => {
                    return Err(LlmError::WrongValue {
                        key: key.to_owned(),
                        expected: "UTF-8 strings".into(),
                        found: format!("bytes that are not UTF-8 in element {number}"),
                    });
                }
            }
        }
        Ok(Some(strings))
    }

    /// The strings of `key`.
    pub fn strings(&self, key: &str) -> Result<Vec<&str>, LlmError> {
        self.get_strings(key)?.ok_or_else(|| Self::missing(key))
    }

    fn elements<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(ElementType, &[u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>, LlmError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let Value::Array(element, _, range) = value else { return Err(self.wrong(key, expected, value)) };
        if *element == ElementType::String {
            return Err(self.wrong(key, expected, value));
        }
        self.bytes()[range.clone()]
            .chunks_exact(element.bytes() as usize)
            .map(|raw| read(*element, raw).ok_or_else(|| self.wrong(key, expected, value)))
            .collect::<Result<Vec<T>, LlmError>>()
            .map(Some)
    }

    /// The floats of `key`, if the key exists.
    pub fn get_f32s(&self, key: &str) -> Result<Option<Vec<f32>>, LlmError> {
        self.elements(key, "an array of floating-point numbers", |element, raw| {
            element.float(raw).map(|float| float as f32)
        })
    }

    /// The floats of `key`.
    pub fn f32s(&self, key: &str) -> Result<Vec<f32>, LlmError> {
        self.get_f32s(key)?.ok_or_else(|| Self::missing(key))
    }

    /// The integers of `key`, if the key exists and each fits.
    pub fn get_i32s(&self, key: &str) -> Result<Option<Vec<i32>>, LlmError> {
        self.elements(key, "an array of 32-bit integers", |element, raw| {
            element.integer(raw).and_then(|integer| i32::try_from(integer).ok())
        })
    }

    /// Whether the value of `key` is an array.
    pub fn is_array(&self, key: &str) -> bool {
        matches!(self.metadata.get(key), Some(Value::Array(..)))
    }

    /// The booleans of `key`, if the key exists; integers count as true where they are not 0.
    pub fn get_flags(&self, key: &str) -> Result<Option<Vec<bool>>, LlmError> {
        self.elements(key, "an array of booleans", |element, raw| match element {
            ElementType::Bool => raw.first().map(|byte| *byte != 0),
            _ => element.integer(raw).map(|integer| integer != 0),
        })
    }

    /// The integers of `key`.
    pub fn i32s(&self, key: &str) -> Result<Vec<i32>, LlmError> {
        self.get_i32s(key)?.ok_or_else(|| Self::missing(key))
    }
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Owned(bytes) => bytes,
            Self::Static(bytes) => bytes,
        }
    }
}
