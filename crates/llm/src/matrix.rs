//! Weight matrices: repacked when quantized, read from the file when float, multiplied by rows on all threads.

use std::ops::Range;
use std::sync::Arc;

use crate::LlmError;
use crate::formats::{self, I2S_UNIT, TERNARY_BLOCK};
use crate::gguf::{Gguf, Place, TensorInfo, TensorType};
use crate::host::PackedBytes;
use crate::kernels::{
    Activations, FloatType, GROUP_ROWS, Kernels, Precision, Q4_BLOCK_BYTES, Q6_BLOCK_BYTES, Q8_BLOCK_BYTES,
    SCALE_BYTES, TernaryScale, UNIT_BYTES,
};
use crate::threads::{SharedSlice, ThreadPool};

/// Bytes of a Q4_0 block of one row in a file.
const Q4_SOURCE_BYTES: usize = 18;
/// Bytes of a Q8_0 block of one row in a file.
const Q8_SOURCE_BYTES: usize = 34;
/// Multiply-accumulates below which waking threads costs more than it saves.
const SMALLEST_PARALLEL_WORK: u64 = 1 << 20;
/// Row groups that a thread takes at a time at most in a prompt: its outputs for all tokens stay in its cache.
const PROMPT_CHUNK_GROUPS: usize = 16;
/// Chunks for each thread, so that a thread that lost its core for a while delays the others little.
const CHUNKS_PER_THREAD: usize = 8;

/// Row-interleaved groups.
enum Packed {
    /// In memory of their own.
    Own(PackedBytes),
    /// Where the tensor was in the file's own memory.
    InFile(Place),
}

impl Packed {
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
    Q4(Packed),
    Q8(Packed),
    Q6(Packed),
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
    /// Loads the matrix of `info`, which is `[columns, rows]` in the file. A quantized one is repacked: in place if
    /// nobody else holds the file, it is in memory of its own, and the repacked rows take the room of the original
    /// ones; otherwise into other memory, and the file's pages are released.
    ///
    /// A matrix that is `looked_up` too, row by row, is repacked in place only where [`row_bytes`](Self::row_bytes)
    /// can undo it.
    pub fn load(
        gguf: &mut Arc<Gguf>,
        info: &TensorInfo,
        factor: f32,
        looked_up: bool,
        pool: &ThreadPool,
    ) -> Result<Self, LlmError> {
        let (rows, columns) = (info.rows() as usize, info.columns() as usize);
        let tensor_scale = match info.tensor_type {
            TensorType::I2S => formats::i2s_scale(gguf.tensor_bytes(info), rows * columns),
            _ => 1.0,
        };
        if !tensor_scale.is_finite() {
            let problem = format!("has the scale {tensor_scale}");
            return Err(LlmError::Tensor { name: info.name.clone(), problem });
        }
        let mut pack = |row_bytes: usize, group_bytes: usize, reversible: bool, group: &PackGroup<'_>| {
            let in_place = rows.is_multiple_of(GROUP_ROWS)
                && row_bytes * GROUP_ROWS == group_bytes
                && (reversible || !looked_up);
            let own =
                if in_place { Arc::get_mut(gguf).and_then(|gguf| gguf.own_tensor_bytes(info)) } else { None };
            if let Some(bytes) = own {
                let bytes = &mut bytes[..rows * row_bytes];
                rearrange(bytes, group_bytes, pool, group);
                return Ok(Packed::InFile(info.place(bytes.len())));
            }
            let packed = repack(gguf.tensor_bytes(info), rows, row_bytes, group_bytes, pool, group)?;
            gguf.release(info);
            Ok::<_, LlmError>(Packed::Own(packed))
        };
        let blocks = columns / 32;
        let data = match info.tensor_type {
            TensorType::F32 => Data::Float(FloatType::F32, info.place(info.bytes as usize)),
            TensorType::F16 => Data::Float(FloatType::F16, info.place(info.bytes as usize)),
            TensorType::Bf16 => Data::Float(FloatType::Bf16, info.place(info.bytes as usize)),
            TensorType::Q4_0 => {
                Data::Q4(pack(blocks * Q4_SOURCE_BYTES, blocks * Q4_BLOCK_BYTES, true, &q4_group)?)
            }
            TensorType::Q8_0 => {
                Data::Q8(pack(blocks * Q8_SOURCE_BYTES, blocks * Q8_BLOCK_BYTES, true, &q8_group)?)
            }
            TensorType::Q6K => {
                let row_bytes = columns / 256 * formats::Q6K_BYTES;
                Data::Q6(pack(row_bytes, blocks * Q6_BLOCK_BYTES, false, &q6_group)?)
            }
            // Their codes and scales fit those of larger types, which have the kernels.
            TensorType::Q3K => {
                let row_bytes = columns / 256 * formats::Q3K_BYTES;
                Data::Q6(pack(row_bytes, blocks * Q6_BLOCK_BYTES, false, &q3_group)?)
            }
            TensorType::Q5_0 => {
                let group = |rows: &[&[u8]], group: &mut [u8]| {
                    widened_group(formats::Q5_BYTES, formats::q5_codes, rows, group);
                };
                Data::Q8(pack(blocks * formats::Q5_BYTES, blocks * Q8_BLOCK_BYTES, false, &group)?)
            }
            TensorType::Iq4Nl => {
                let group = |rows: &[&[u8]], group: &mut [u8]| {
                    widened_group(formats::IQ4_BYTES, formats::iq4_codes, rows, group);
                };
                Data::Q8(pack(blocks * formats::IQ4_BYTES, blocks * Q8_BLOCK_BYTES, false, &group)?)
            }
            TensorType::Tq2_0 | TensorType::Tq1_0 => {
                let kind = info.tensor_type;
                let block_bytes = if kind == TensorType::Tq2_0 { 66 } else { 54 };
                let blocks = columns / TERNARY_BLOCK;
                let group_bytes = blocks * (SCALE_BYTES + 2 * UNIT_BYTES);
                let group = |rows: &[&[u8]], group: &mut [u8]| tq_group(kind, block_bytes, rows, group);
                Data::Ternary(pack(blocks * block_bytes, group_bytes, false, &group)?, TernaryScale::PerBlock)
            }
            TensorType::I2S => {
                let units = columns / I2S_UNIT;
                let packed = pack(units * 32, units * UNIT_BYTES, false, &i2s_group)?;
                Data::Ternary(packed, TernaryScale::PerTensor(tensor_scale))
            }
            TensorType::Other(_) => return Err(unsupported_type(info)),
        };
        Ok(Self { rows, columns, factor, data })
    }

    /// If this matrix was repacked in place: puts the bytes of `row` as they were in the file into `out` and returns
    /// true.
    pub fn row_bytes(&self, file: &Gguf, row: usize, out: &mut Vec<u8>) -> bool {
        let (place, source_bytes, packed_bytes) = match &self.data {
            Data::Q4(Packed::InFile(place)) => (place, Q4_SOURCE_BYTES, Q4_BLOCK_BYTES),
            Data::Q8(Packed::InFile(place)) => (place, Q8_SOURCE_BYTES, Q8_BLOCK_BYTES),
            _ => return false,
        };
        let group_bytes = self.columns / 32 * packed_bytes;
        let group = &file.at(place)[row / GROUP_ROWS * group_bytes..][..group_bytes];
        let row = row % GROUP_ROWS;
        out.clear();
        for block in group.chunks_exact(packed_bytes) {
            out.extend_from_slice(&block[2 * row..2 * row + 2]);
            for vector in block[SCALE_BYTES..].chunks_exact(32) {
                out.extend_from_slice(&vector[row * 4..row * 4 + 4]);
            }
        }
        debug_assert_eq!(out.len(), self.columns / 32 * source_bytes);
        true
    }

    fn precision(&self) -> Option<Precision> {
        match self.data {
            Data::Float(..) => None,
            Data::Q4(_) | Data::Q6(_) | Data::Q8(_) => Some(Precision::Blocks),
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
            (Data::Q4(packed), Some(activations), _) => kernels.q4_0(part(packed), activations, out),
            (Data::Q6(packed), Some(activations), _) => kernels.q6_k(part(packed), activations, out),
            (Data::Q8(packed), Some(activations), _) => kernels.q8_0(part(packed), activations, out),
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
    LlmError::Unsupported(format!(
        "the tensor `{}` has the type {}, which is not supported; use a file of the model in F32, F16, BF16, Q8_0, \
         Q6_K, Q5_0, Q4_0, IQ4_NL, Q3_K, TQ2_0, TQ1_0 or I2_S",
        info.name,
        info.tensor_type.name()
    ))
}

/// Interleaves the rows it is given (eight, or fewer at the end of a matrix) into a zeroed group.
type PackGroup<'a> = dyn Fn(&[&[u8]], &mut [u8]) + Sync + 'a;

/// Packs all rows, group by group, on all threads.
fn repack(
    bytes: &[u8],
    rows: usize,
    row_bytes: usize,
    group_bytes: usize,
    pool: &ThreadPool,
    pack: &PackGroup<'_>,
) -> Result<PackedBytes, LlmError> {
    let groups = rows.div_ceil(GROUP_ROWS);
    let bytes_needed = groups * group_bytes;
    let mut packed =
        PackedBytes::zeroed(bytes_needed).ok_or(LlmError::OutOfMemory { bytes: bytes_needed })?;
    let shared = SharedSlice::new(&mut packed[..]);
    let each = groups.div_ceil(pool.threads() * CHUNKS_PER_THREAD).max(1);
    pool.run(groups.div_ceil(each), &|chunk| {
        for group in chunk * each..((chunk + 1) * each).min(groups) {
            let first = group * GROUP_ROWS;
            let last = (first + GROUP_ROWS).min(rows);
            let mut sources: [&[u8]; GROUP_ROWS] = [&[]; GROUP_ROWS];
            for row in first..last {
                sources[row - first] = &bytes[row * row_bytes..][..row_bytes];
            }
            // SAFETY: each group is visited once.
            let out = unsafe { shared.range(group * group_bytes, group_bytes) };
            pack(&sources[..last - first], out);
        }
    });
    Ok(packed)
}

/// Packs whole groups of rows where they are: `group_bytes` is the size of eight rows, packed or not.
fn rearrange(bytes: &mut [u8], group_bytes: usize, pool: &ThreadPool, pack: &PackGroup<'_>) {
    let groups = bytes.len() / group_bytes;
    let shared = SharedSlice::new(bytes);
    let each = groups.div_ceil(pool.threads() * CHUNKS_PER_THREAD).max(1);
    pool.run(groups.div_ceil(each), &|chunk| {
        let mut original = vec![0; group_bytes];
        for group in chunk * each..((chunk + 1) * each).min(groups) {
            // SAFETY: each group is visited once.
            let bytes = unsafe { shared.range(group * group_bytes, group_bytes) };
            original.copy_from_slice(bytes);
            bytes.fill(0);
            let mut rows = original.chunks_exact(group_bytes / GROUP_ROWS);
            let rows: [&[u8]; GROUP_ROWS] = std::array::from_fn(|_| rows.next().unwrap_or_default());
            pack(&rows, bytes);
        }
    });
}

/// Interleaves blocks of `source_bytes` (an f16 scale, then codes in quads) into `packed_bytes`.
fn quads_group(source_bytes: usize, packed_bytes: usize, rows: &[&[u8]], group: &mut [u8]) {
    for (row, bytes) in rows.iter().enumerate() {
        for (source, block) in bytes.chunks_exact(source_bytes).zip(group.chunks_exact_mut(packed_bytes)) {
            block[2 * row..2 * row + 2].copy_from_slice(&source[..2]);
            for (quad, vector) in source[2..].chunks_exact(4).zip(block[SCALE_BYTES..].chunks_exact_mut(32)) {
                vector[row * 4..row * 4 + 4].copy_from_slice(quad);
            }
        }
    }
}

fn q4_group(rows: &[&[u8]], group: &mut [u8]) {
    quads_group(Q4_SOURCE_BYTES, Q4_BLOCK_BYTES, rows, group);
}

fn q8_group(rows: &[&[u8]], group: &mut [u8]) {
    quads_group(Q8_SOURCE_BYTES, Q8_BLOCK_BYTES, rows, group);
}

/// Blocks of 32 that start with their scale and whose codes fit 8 bits, as if they were of Q8_0.
fn widened_group(
    source_bytes: usize,
    unpack: fn(&[u8], &mut [i8; formats::QUANTIZED_BLOCK]),
    rows: &[&[u8]],
    group: &mut [u8],
) {
    let mut codes = [0; formats::QUANTIZED_BLOCK];
    let mut widened = |row: &&[u8]| {
        let mut bytes = Vec::with_capacity(row.len() / source_bytes * Q8_SOURCE_BYTES);
        for block in row.chunks_exact(source_bytes) {
            unpack(block, &mut codes);
            bytes.extend_from_slice(&block[..2]);
            bytes.extend(codes.iter().map(|code| *code as u8));
        }
        bytes
    };
    let rows: Vec<Vec<u8>> = rows.iter().map(&mut widened).collect();
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    q8_group(&rows, group);
}

fn q6_group(rows: &[&[u8]], group: &mut [u8]) {
    let unpack = |block: &[u8], codes: &mut [i8; 256]| {
        formats::q6k_codes(block, codes);
        std::array::from_fn(|part| block[192 + part] as i8)
    };
    scaled_group(formats::Q6K_BYTES, unpack, rows, group);
}

fn q3_group(rows: &[&[u8]], group: &mut [u8]) {
    let unpack = |block: &[u8], codes: &mut [i8; 256]| {
        formats::q3k_codes(block, codes);
        formats::q3k_scales(block)
    };
    scaled_group(formats::Q3K_BYTES, unpack, rows, group);
}

/// Blocks of 256 that end with their scale and have one for each 16 codes beside.
fn scaled_group(
    source_bytes: usize,
    unpack: impl Fn(&[u8], &mut [i8; 256]) -> [i8; 16],
    rows: &[&[u8]],
    group: &mut [u8],
) {
    let mut codes = [0i8; 256];
    for (row, bytes) in rows.iter().enumerate() {
        let blocks = group.chunks_exact_mut(8 * Q6_BLOCK_BYTES);
        for (source, blocks) in bytes.chunks_exact(source_bytes).zip(blocks) {
            let scales = unpack(source, &mut codes);
            for (number, block) in blocks.chunks_exact_mut(Q6_BLOCK_BYTES).enumerate() {
                block[2 * row..2 * row + 2].copy_from_slice(&source[source_bytes - 2..]);
                for part in 0..2 {
                    block[(1 + part) * SCALE_BYTES + 2 * row..][..2].fill(scales[2 * number + part] as u8);
                }
                let quads = codes[number * 32..][..32].chunks_exact(4);
                for (quad, vector) in quads.zip(block[3 * SCALE_BYTES..].chunks_exact_mut(32)) {
                    for (byte, code) in vector[row * 4..].iter_mut().zip(quad) {
                        *byte = *code as u8;
                    }
                }
            }
        }
    }
}

/// Writes 128 codes of `row` into a unit.
fn pack_unit(codes: &[u8], row: usize, unit: &mut [u8]) {
    for (codes, vector) in codes.chunks_exact(16).zip(unit.chunks_exact_mut(32)) {
        let quad = |place: usize| {
            let at = place * 4;
            u32::from_le_bytes([codes[at], codes[at + 1], codes[at + 2], codes[at + 3]]) << (2 * place)
        };
        let packed = quad(0) | quad(1) | quad(2) | quad(3);
        vector[row * 4..row * 4 + 4].copy_from_slice(&packed.to_le_bytes());
    }
}

fn tq_group(kind: TensorType, block_bytes: usize, rows: &[&[u8]], group: &mut [u8]) {
    let mut codes = [0; TERNARY_BLOCK];
    for (row, bytes) in rows.iter().enumerate() {
        let blocks = group.chunks_exact_mut(SCALE_BYTES + 2 * UNIT_BYTES);
        for (source, block) in bytes.chunks_exact(block_bytes).zip(blocks) {
            formats::ternary_codes(kind, source, &mut codes);
            block[2 * row..2 * row + 2].copy_from_slice(&source[block_bytes - 2..]);
            for (codes, unit) in
                codes.chunks_exact(128).zip(block[SCALE_BYTES..].chunks_exact_mut(UNIT_BYTES))
            {
                pack_unit(codes, row, unit);
            }
        }
    }
}

fn i2s_group(rows: &[&[u8]], group: &mut [u8]) {
    let mut codes = [0; I2S_UNIT];
    for (row, bytes) in rows.iter().enumerate() {
        for (source, unit) in bytes.chunks_exact(32).zip(group.chunks_exact_mut(UNIT_BYTES)) {
            formats::ternary_codes(TensorType::I2S, source, &mut codes);
            pack_unit(&codes, row, unit);
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
    use crate::gguf::{GgufWriter, TensorSpecification};

    /// A file of one matrix of 24 rows and 512 columns, and the matrix, which alone holds the file.
    fn load(kind: TensorType, looked_up: bool) -> (Vec<u8>, Arc<Gguf>, Matrix) {
        let specification = TensorSpecification::new("matrix", &[512, 24], kind);
        let mut writer = GgufWriter::new(Vec::new(), &[], vec![specification]).unwrap();
        let mut bytes = Vec::new();
        for row in 0..24 {
            let row: Vec<f32> =
                (0..512).map(|column| ((row * 37 + column * 11) % 101) as f32 - 50.0).collect();
            formats::encode_row(kind, &row, 50.0, &mut bytes);
        }
        if kind == TensorType::I2S {
            formats::encode_i2s_trailer(0.5, &mut bytes);
        }
        writer.tensor([&bytes]).unwrap();
        let mut gguf = Arc::new(Gguf::from_vec(writer.finish().unwrap()).unwrap());
        let info = gguf.tensor("matrix").unwrap().clone();
        let matrix = Matrix::load(&mut gguf, &info, 1.0, looked_up, &ThreadPool::new(1)).unwrap();
        (bytes, gguf, matrix)
    }

    #[test]
    fn rows_of_a_matrix_repacked_in_place_can_be_had_back() {
        for kind in [TensorType::Q4_0, TensorType::Q8_0] {
            let (bytes, gguf, matrix) = load(kind, true);
            assert_ne!(gguf.tensor_bytes(&gguf.tensors()[0]), bytes, "{kind:?} was repacked in place");
            let mut row = Vec::new();
            for (number, expected) in bytes.chunks_exact(bytes.len() / 24).enumerate() {
                assert!(matrix.row_bytes(&gguf, number, &mut row), "{kind:?}");
                assert_eq!(row, expected, "{kind:?}, row {number}");
            }
        }
    }

    #[test]
    fn a_matrix_whose_rows_could_not_be_had_back_stays_if_they_are_needed() {
        for kind in [
            TensorType::Tq2_0,
            TensorType::I2S,
            TensorType::Q6K,
            TensorType::Q3K,
            TensorType::Q5_0,
            TensorType::Iq4Nl,
            TensorType::Tq1_0,
        ] {
            let (bytes, gguf, matrix) = load(kind, true);
            assert_eq!(gguf.tensor_bytes(&gguf.tensors()[0]), bytes, "{kind:?}");
            assert!(!matrix.row_bytes(&gguf, 0, &mut Vec::new()));
        }
        for kind in [TensorType::Tq2_0, TensorType::I2S] {
            let (bytes, gguf, _) = load(kind, false);
            assert_ne!(gguf.tensor_bytes(&gguf.tensors()[0]), bytes, "{kind:?} was repacked in place");
        }
    }

    #[test]
    fn a_product_is_that_of_the_decoded_rows() {
        for kind in [
            TensorType::Q4_0,
            TensorType::Q5_0,
            TensorType::Iq4Nl,
            TensorType::Q8_0,
            TensorType::Q3K,
            TensorType::Q6K,
            TensorType::Tq1_0,
            TensorType::Tq2_0,
        ] {
            let (bytes, gguf, matrix) = load(kind, true);
            let x: Vec<f32> = (0..512).map(|column| ((column * 29) % 53) as f32 / 26.0 - 1.0).collect();
            let mut out = vec![0.0; 24];
            let pool = ThreadPool::new(1);
            for kernels in [Kernels::scalar(), Kernels::detect()] {
                let machine = Machine { kernels, pool: &pool, file: &gguf };
                multiply(machine, &x, &mut [(&matrix, &mut out)]);
                for (row, (bytes, found)) in bytes.chunks_exact(bytes.len() / 24).zip(&out).enumerate() {
                    let mut decoded = vec![0.0; 512];
                    formats::decode_row(kind, bytes, 1.0, &mut decoded);
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
