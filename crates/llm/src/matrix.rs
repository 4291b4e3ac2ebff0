//! Weight matrices: repacked when quantized, read from the file when float, multiplied by rows on all threads.

use std::ops::Range;
use std::sync::Arc;

use half::f16;

use crate::LlmError;
use crate::formats::{self, BlockType, TERNARY_BLOCK};
use crate::gguf::{Gguf, Place, TensorInfo, TensorType};
use crate::host::PackedBytes;
use crate::interleave::{Interleaving, TERNARY_BLOCK_BYTES};
use crate::kernels::{
    self, Activations, FloatType, GROUP_ROWS, Kernels, Precision, SCALE_BYTES, TernaryScale,
};
use crate::threads::{SharedSlice, ThreadPool};

/// Multiply-accumulates below which waking threads costs more than it saves.
const SMALLEST_PARALLEL_WORK: u64 = 1 << 20;
/// Row groups that a thread takes at a time at most in a prompt: its outputs for all tokens stay in its cache.
const PROMPT_CHUNK_GROUPS: usize = 16;
/// Chunks for each thread, so that a thread that lost its core for a while delays the others little.
pub(crate) const CHUNKS_PER_THREAD: usize = 8;

/// Row-interleaved groups.
enum Packed {
    /// In memory of their own.
    Own(PackedBytes),
    /// Where the tensor is in the file.
    InFile(Place),
}

impl Packed {
    fn load(
        gguf: &mut Arc<Gguf>,
        info: &TensorInfo,
        interleaving: Interleaving,
        pool: &ThreadPool,
    ) -> Result<Self, LlmError> {
        let rows = info.rows() as usize;
        let place = info.place(rows * interleaving.row_bytes());
        if info.interleaved {
            if !interleaving.is_valid(gguf.at(&place), pool) {
                let problem = "has ternary codes that mean nothing; prepare the model again".to_owned();
                return Err(LlmError::Tensor { name: info.name.clone(), problem });
            }
            return Ok(Self::InFile(place));
        }
        let own = if interleaving.is_in_place(rows) {
            Arc::get_mut(gguf).and_then(|gguf| gguf.own_bytes_at(&place))
        } else {
            None
        };
        if let Some(bytes) = own {
            interleaving.rearrange(bytes, pool);
            return Ok(Self::InFile(place));
        }
        let packed = interleaving.repack(gguf.at(&place), rows, pool)?;
        gguf.release(info);
        Ok(Self::Own(packed))
    }

    fn bytes<'a>(&'a self, file: &'a Gguf) -> &'a [u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::InFile(place) => file.at(place),
        }
    }
}

enum Data {
    /// The rows, in the file.
    Float(FloatType, Place),
    Blocks(BlockType, Packed),
    Ternary(Packed, TernaryScale),
}

/// A matrix of `rows × columns`; `y = W x`.
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    /// Factor on every output; 1 for most models.
    factor: f32,
    data: Data,
}

/// What a product needs besides its operands.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub kernels: Kernels,
    pub pool: &'a ThreadPool,
    /// The model file, or files.
    pub file: &'a Gguf,
}

impl Matrix {
    /// Loads the matrix of `info`, which is `[columns, rows]` in the file. The rows of a quantized one are interleaved, if
    /// they are not in the file: in place if nobody else holds the file, it is in memory of its own, and interleaved rows
    /// take the room of the original ones; otherwise into other memory, and the file's pages are released.
    pub fn load(
        gguf: &mut Arc<Gguf>,
        info: &TensorInfo,
        factor: f32,
        pool: &ThreadPool,
    ) -> Result<Self, LlmError> {
        let (rows, columns) = (info.rows() as usize, info.columns() as usize);
        let data = match (info.tensor_type, Interleaving::of(info)) {
            (TensorType::F32, _) => Data::Float(FloatType::F32, info.place(info.bytes as usize)),
            (TensorType::F16, _) => Data::Float(FloatType::F16, info.place(info.bytes as usize)),
            (TensorType::Bf16, _) => Data::Float(FloatType::Bf16, info.place(info.bytes as usize)),
            (_, None) => return Err(unsupported_type(info)),
            (tensor_type, Some(interleaving)) => {
                let tensor_scale = match tensor_type {
                    TensorType::I2S(_) => formats::i2s_scale(gguf.tensor_bytes(info), rows * columns),
                    _ => 1.0,
                };
                if !tensor_scale.is_finite() {
                    let problem = format!("has the scale {tensor_scale}");
                    return Err(LlmError::Tensor { name: info.name.clone(), problem });
                }
                let packed = Packed::load(gguf, info, interleaving, pool)?;
                match tensor_type {
                    TensorType::I2S(_) => Data::Ternary(packed, TernaryScale::PerTensor(tensor_scale)),
                    TensorType::Tq2_0 | TensorType::Tq1_0 => Data::Ternary(packed, TernaryScale::PerBlock),
                    other => {
                        Data::Blocks(BlockType::of(other).ok_or_else(|| unsupported_type(info))?, packed)
                    }
                }
            }
        };
        Ok(Self { rows, columns, factor, data })
    }

    /// If this matrix was repacked: puts row `row` into `out`, which has its columns, and returns true. Its weights are
    /// those that its tensor has in the file, bit for bit.
    pub fn decode_row(&self, file: &Gguf, row: usize, out: &mut [f32]) -> bool {
        let (Data::Blocks(_, packed) | Data::Ternary(packed, _)) = &self.data else { return false };
        let bytes = packed.bytes(file);
        let group_bytes = bytes.len() / self.groups();
        let group = &bytes[row / GROUP_ROWS * group_bytes..][..group_bytes];
        let row = row % GROUP_ROWS;
        match &self.data {
            Data::Blocks(kind, _) => {
                let blocks = group.chunks_exact(kind.packed_bytes());
                for (out, packed) in out.chunks_exact_mut(kind.columns()).zip(blocks) {
                    kernels::unpack(*kind, packed, row).decode(*kind, out);
                }
            }
            Data::Ternary(_, TernaryScale::PerBlock) => {
                let blocks = group.chunks_exact(TERNARY_BLOCK_BYTES);
                for (out, block) in out.chunks_exact_mut(TERNARY_BLOCK).zip(blocks) {
                    let scale = f16::from_le_bytes([block[2 * row], block[2 * row + 1]]).to_f32();
                    decode_units(&block[SCALE_BYTES..], row, scale, out);
                }
            }
            Data::Ternary(_, TernaryScale::PerTensor(scale)) => decode_units(group, row, *scale, out),
            Data::Float(..) => {}
        }
        true
    }

    /// Number of rows: what a product has for each token.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn precision(&self) -> Option<Precision> {
        match self.data {
            Data::Float(..) => None,
            Data::Blocks(..) => Some(Precision::Blocks),
            Data::Ternary(..) => Some(Precision::Token),
        }
    }

    fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP_ROWS)
    }

    /// Computes the rows of `groups` for all tokens into `out`, which is `[tokens][groups · 8]`.
    fn multiply_groups<'m>(
        &'m self,
        machine: Machine<'m>,
        input: &Input<'_>,
        groups: Range<usize>,
        out: &mut [f32],
    ) {
        let Machine { kernels, file, .. } = machine;
        let part = |packed: &'m Packed| {
            let bytes = packed.bytes(file);
            let group_bytes = bytes.len() / self.groups();
            &bytes[groups.start * group_bytes..groups.end * group_bytes]
        };
        match (&self.data, &input.blocks, &input.token) {
            (Data::Blocks(kind, packed), Some(activations), _) => {
                kernels.blocks(*kind, part(packed), activations, out);
            }
            (Data::Ternary(packed, scale), _, Some(activations)) => {
                kernels.ternary(part(packed), *scale, activations, out);
            }
            (Data::Float(float, place), ..) => {
                let row_bytes = self.columns * float.bytes();
                let last = (groups.end * GROUP_ROWS).min(self.rows);
                let rows = &file.at(place)[groups.start * GROUP_ROWS * row_bytes..last * row_bytes];
                kernels.float_rows(*float, rows, self.columns, input.x, out);
            }
            _ => unreachable!("an input is quantized for every matrix that it is made for"),
        }
        if self.factor != 1.0 {
            out.iter_mut().for_each(|value| *value *= self.factor);
        }
    }
}

/// The error for a tensor whose type this crate does not compute with.
pub(crate) fn unsupported_type(info: &TensorInfo) -> LlmError {
    let names = TensorType::COMPUTED.map(TensorType::name).join(", ");
    LlmError::Unsupported(format!(
        "the tensor `{}` has the type {}, which is not supported; use a file of the model in one of {names}",
        info.name,
        info.tensor_type.name()
    ))
}

/// The weights of `row` in units of codes.
fn decode_units(units: &[u8], row: usize, scale: f32, out: &mut [f32]) {
    for (out, vector) in out.chunks_exact_mut(16).zip(units.chunks_exact(4 * GROUP_ROWS)) {
        for (column, out) in out.iter_mut().enumerate() {
            let code = vector[row * 4 + column % 4] >> (column / 4 * 2) & 3;
            *out = (f32::from(code) - 1.0) * scale;
        }
    }
}

/// The right-hand side of products: a batch of tokens, quantized as its matrices need it.
struct Input<'a> {
    /// `[tokens][columns]`.
    x: &'a [f32],
    blocks: Option<Activations>,
    token: Option<Activations>,
}

/// `out = W x` for several matrices of equal `columns` and one batch `x` of `[tokens][columns]`; each `out` is
/// `[tokens][rows]`.
pub(crate) fn multiply(machine: Machine<'_>, x: &[f32], products: &mut [(&Matrix, &mut [f32])]) {
    let Some(columns) = products.first().map(|(matrix, _)| matrix.columns) else { return };
    let tokens = x.len() / columns;
    let quantized = |precision: Precision| {
        let needed = products.iter().any(|(matrix, _)| matrix.precision() == Some(precision));
        needed.then(|| Activations::new(machine.kernels, precision, columns, x))
    };
    let input = Input { x, blocks: quantized(Precision::Blocks), token: quantized(Precision::Token) };

    let rows: usize = products.iter().map(|(matrix, _)| matrix.rows).sum();
    let work = rows as u64 * columns as u64 * tokens as u64;
    let parallel = work >= SMALLEST_PARALLEL_WORK && machine.pool.threads() > 1;
    let groups: usize = products.iter().map(|(matrix, _)| matrix.groups()).sum();
    let mut each = groups.div_ceil(if parallel { machine.pool.threads() * CHUNKS_PER_THREAD } else { 1 });
    if tokens > 1 {
        each = each.min(PROMPT_CHUNK_GROUPS);
    }
    // Whole multiples of four groups let the kernels read four streams.
    let each = each.next_multiple_of(4);

    let mut chunks = Vec::new();
    let mut targets = Vec::new();
    for (number, (matrix, out)) in products.iter_mut().enumerate() {
        let groups = matrix.groups();
        chunks.extend((0..groups).step_by(each).map(|start| (number, start..(start + each).min(groups))));
        targets.push((*matrix, SharedSlice::new(out)));
    }
    let run = |task: usize| {
        let (number, groups) = &chunks[task];
        let (matrix, target) = &targets[*number];
        let padded = match matrix.data {
            Data::Float(..) => (groups.end * GROUP_ROWS).min(matrix.rows) - groups.start * GROUP_ROWS,
            _ => groups.len() * GROUP_ROWS,
        };
        let mut tile = vec![0.0; tokens * padded];
        matrix.multiply_groups(machine, &input, groups.clone(), &mut tile);
        let first = groups.start * GROUP_ROWS;
        let rows = padded.min(matrix.rows - first);
        for (token, values) in tile.chunks_exact(padded).enumerate() {
            // SAFETY: chunks have disjoint rows.
            let out = unsafe { target.range(token * matrix.rows + first, rows) };
            out.copy_from_slice(&values[..rows]);
        }
    };
    if parallel {
        machine.pool.run(chunks.len(), &run);
    } else {
        (0..chunks.len()).for_each(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{GgufWriter, I2sPacking, MetadataValue, TensorSpecification};

    /// All types whose matrices are repacked.
    fn packed_types() -> impl Iterator<Item = TensorType> {
        let blocks = TensorType::COMPUTED.into_iter().filter(|kind| kind.block().unwrap().0 > 1);
        blocks.chain([TensorType::I2S(I2sPacking::Arm)])
    }

    /// The scale of I2_S tensors.
    const SCALE: f32 = 0.5;

    /// A file of one matrix of 24 rows and 512 columns, and the matrix, which alone holds the file.
    fn load(kind: TensorType) -> (Vec<u8>, Arc<Gguf>, Matrix) {
        let specification = TensorSpecification::new("matrix", &[512, 24], kind);
        let packing = match kind {
            TensorType::I2S(packing) => packing,
            _ => I2sPacking::default(),
        };
        let metadata = [(I2sPacking::KEY.to_owned(), MetadataValue::String(packing.name().to_owned()))];
        let mut writer = GgufWriter::new(Vec::new(), &metadata, vec![specification]).unwrap();
        let mut bytes = Vec::new();
        for row in 0..24 {
            let row: Vec<f32> =
                (0..512).map(|column| ((row * 37 + column * 11) % 101) as f32 - 50.0).collect();
            formats::encode_row(kind, &row, 50.0, &mut bytes);
        }
        if matches!(kind, TensorType::I2S(_)) {
            formats::encode_i2s_trailer(SCALE, &mut bytes);
        }
        writer.tensor([&bytes]).unwrap();
        let mut gguf = Arc::new(Gguf::from_vec(writer.finish().unwrap()).unwrap());
        let info = gguf.tensor("matrix").unwrap().clone();
        let matrix = Matrix::load(&mut gguf, &info, 1.0, &ThreadPool::new(1)).unwrap();
        (bytes, gguf, matrix)
    }

    #[test]
    fn a_matrix_is_repacked_in_place_and_has_the_rows_of_its_tensor() {
        for kind in packed_types() {
            let (bytes, gguf, matrix) = load(kind);
            let in_place = kind != TensorType::Tq1_0;
            assert_eq!(gguf.tensor_bytes(&gguf.tensors()[0]) != bytes, in_place, "{kind:?}");
            let row_bytes = kind.row_bytes(512).unwrap() as usize;
            for (number, row) in bytes.chunks_exact(row_bytes).take(24).enumerate() {
                let (mut expected, mut found) = (vec![0.0; 512], vec![1.0; 512]);
                formats::decode_row(kind, row, SCALE, &mut expected);
                assert!(matrix.decode_row(&gguf, number, &mut found));
                let bits = |row: &[f32]| row.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&found), bits(&expected), "{kind:?}, row {number}");
            }
        }
    }

    #[test]
    fn a_product_is_that_of_the_decoded_rows() {
        for kind in packed_types() {
            let (bytes, gguf, matrix) = load(kind);
            let x: Vec<f32> = (0..512).map(|column| ((column * 29) % 53) as f32 / 26.0 - 1.0).collect();
            let mut out = vec![0.0; 24];
            let pool = ThreadPool::new(1);
            let row_bytes = kind.row_bytes(512).unwrap() as usize;
            for kernels in Kernels::all() {
                let machine = Machine { kernels, pool: &pool, file: &gguf };
                multiply(machine, &x, &mut [(&matrix, &mut out)]);
                for (row, (bytes, found)) in bytes.chunks_exact(row_bytes).zip(&out).enumerate() {
                    let mut decoded = vec![0.0; 512];
                    formats::decode_row(kind, bytes, SCALE, &mut decoded);
                    let products = || decoded.iter().zip(&x).map(|(weight, x)| f64::from(weight * x));
                    let (expected, size): (f64, f64) =
                        (products().sum(), products().map(|product| product * product).sum::<f64>().sqrt());
                    // The rounding of the activations to 8 bits.
                    assert!(
                        (f64::from(*found) - expected).abs() < 0.03 * size + 1e-3,
                        "{kind:?}, row {row}: {found} {expected}"
                    );
                }
            }
        }
    }
}
