//! The writer: metadata and tensor descriptions first, then tensor data streamed in order.

use std::io::{self, Write};

use super::parse::{DEFAULT_ALIGNMENT, MAGIC, VERSION};
use super::types::TensorType;

/// A metadata value to write.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    /// A 32-bit unsigned integer.
    U32(u32),
    /// A 32-bit float.
    F32(f32),
    /// A boolean.
    Bool(bool),
    /// A string.
    String(String),
    /// An array of strings.
    Strings(Vec<String>),
    /// An array of 32-bit floats.
    F32s(Vec<f32>),
    /// An array of 32-bit integers.
    I32s(Vec<i32>),
}

/// A tensor to write: name, shape (columns first) and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpecification {
    /// Its name.
    pub name: String,
    /// Extents, the contiguous one first.
    pub shape: Vec<u64>,
    /// Element type.
    pub tensor_type: TensorType,
}

impl TensorSpecification {
    /// A tensor called `name`.
    pub fn new(name: impl Into<String>, shape: &[u64], tensor_type: TensorType) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), tensor_type }
    }

    /// Bytes of its data; `None` when its rows are not whole blocks.
    pub fn bytes(&self) -> Option<u64> {
        let columns = self.shape.first().copied()?;
        self.tensor_type.tensor_bytes(columns, self.shape.iter().skip(1).product())
    }
}

/// Writes a GGUF file to `W`. The header is written by [`GgufWriter::new`]; then each tensor's data follows, in the
/// order of the specifications, by [`GgufWriter::tensor`].
pub struct GgufWriter<W: Write> {
    output: W,
    tensors: Vec<TensorSpecification>,
    next: usize,
}

impl<W: Write> GgufWriter<W> {
    /// Writes metadata and tensor descriptions. Fails when a specification's rows are not whole blocks.
    pub fn new(
        mut output: W,
        metadata: &[(String, MetadataValue)],
        tensors: Vec<TensorSpecification>,
    ) -> io::Result<Self> {
        let mut header = Vec::new();
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            string(&mut header, key);
            write_value(&mut header, value);
        }
        let mut offset = 0u64;
        for tensor in &tensors {
            string(&mut header, &tensor.name);
            header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
            for extent in &tensor.shape {
                header.extend_from_slice(&extent.to_le_bytes());
            }
            header.extend_from_slice(&tensor.tensor_type.id().to_le_bytes());
            header.extend_from_slice(&offset.to_le_bytes());
            let bytes = tensor.bytes().ok_or_else(|| {
                io::Error::other(format!("tensor `{}` has rows that are not whole blocks", tensor.name))
            })?;
            offset += bytes.next_multiple_of(DEFAULT_ALIGNMENT);
        }
        header.resize(header.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
        output.write_all(&header)?;
        Ok(Self { output, tensors, next: 0 })
    }

    /// The tensor whose data comes next, or `None` when all are written.
    pub fn next_tensor(&self) -> Option<&TensorSpecification> {
        self.tensors.get(self.next)
    }

    /// Writes the data of the next tensor from `chunks`, which together hold exactly its bytes.
    pub fn tensor<C: AsRef<[u8]>>(&mut self, chunks: impl IntoIterator<Item = C>) -> io::Result<()> {
        let Some(tensor) = self.tensors.get(self.next) else {
            return Err(io::Error::other("all tensors are written"));
        };
        let expected = tensor.bytes().unwrap_or(0);
        let mut written = 0;
        for chunk in chunks {
            written += chunk.as_ref().len() as u64;
            self.output.write_all(chunk.as_ref())?;
        }
        if written != expected {
            let message = format!("tensor `{}` takes {expected} bytes, not {written}", tensor.name);
            return Err(io::Error::other(message));
        }
        let padding = expected.next_multiple_of(DEFAULT_ALIGNMENT) - expected;
        self.output.write_all(&[0; DEFAULT_ALIGNMENT as usize][..padding as usize])?;
        self.next += 1;
        Ok(())
    }

    /// Ends the file and gives the output back. Fails when a tensor has no data yet.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(tensor) = self.next_tensor() {
            return Err(io::Error::other(format!("tensor `{}` has no data", tensor.name)));
        }
        self.output.flush()?;
        Ok(self.output)
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write_value(out: &mut Vec<u8>, value: &MetadataValue) {
    let tag = |out: &mut Vec<u8>, id: u32| out.extend_from_slice(&id.to_le_bytes());
    let array = |out: &mut Vec<u8>, id: u32, count: usize| {
        tag(out, 9);
        tag(out, id);
        out.extend_from_slice(&(count as u64).to_le_bytes());
    };
    match value {
        MetadataValue::U32(value) => {
            tag(out, 4);
            out.extend_from_slice(&value.to_le_bytes());
        }
        MetadataValue::F32(value) => {
            tag(out, 6);
            out.extend_from_slice(&value.to_le_bytes());
        }
        MetadataValue::Bool(value) => {
            tag(out, 7);
            out.push(u8::from(*value));
        }
        MetadataValue::String(text) => {
            tag(out, 8);
            string(out, text);
        }
        MetadataValue::Strings(texts) => {
            array(out, 8, texts.len());
            for text in texts {
                string(out, text);
            }
        }
        MetadataValue::F32s(values) => {
            array(out, 6, values.len());
            for value in values {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        MetadataValue::I32s(values) => {
            array(out, 5, values.len());
            for value in values {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}
