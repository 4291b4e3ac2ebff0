//! The code of one function of a random program.

use wasm_encoder::{BlockType, Function, Ieee32, Ieee64, InstructionSink, MemArg, MemArgTarget, ValType};

use super::{GLOBALS, MEMORY_BYTES, Signature, TYPES, Types, f32_bits, f64_bits, v128_bits};
use crate::stream::Stream;

/// Locals of each type besides the parameters.
const LOCALS: u32 = 3;
/// Statements of a function's body.
const STATEMENTS: u64 = 12;
/// Expressions of a function, more or less.
const EXPRESSIONS: u32 = 150;
/// How deeply expressions and blocks are nested.
const DEPTH: u32 = 7;
/// Rounds of a loop, and loops within loops.
const ROUNDS: i32 = 5;
const LOOPS: u32 = 2;

/// A function that is being written.
pub(super) struct Body<'a> {
    stream: &'a mut Stream,
    types: &'a mut Types,
    signatures: &'a [Signature],
    index: usize,
    code: Vec<u8>,
    /// Types of all locals; the last ones are the counters of loops, which only their loops set.
    locals: Vec<ValType>,
    /// What each label takes; none for those of loops: nothing but their own count may start another round.
    labels: Vec<Option<Vec<ValType>>>,
    loops: u32,
    left: u32,
}

/// A type as a block's result.
fn block(kind: ValType) -> BlockType {
    BlockType::Result(kind)
}

impl<'a> Body<'a> {
    pub(super) fn new(
        stream: &'a mut Stream,
        types: &'a mut Types,
        signatures: &'a [Signature],
        index: usize,
    ) -> Self {
        let mut locals = signatures[index].parameters.clone();
        for kind in TYPES {
            locals.extend([kind; LOCALS as usize]);
        }
        locals.extend([ValType::I32; LOOPS as usize]);
        let labels = vec![Some(signatures[index].results.clone())];
        Self {
            stream,
            types,
            signatures,
            index,
            code: Vec::new(),
            locals,
            labels,
            loops: 0,
            left: EXPRESSIONS,
        }
    }

    pub(super) fn finish(mut self) -> Function {
        let statements = 1 + self.stream.below(STATEMENTS);
        for _ in 0..statements {
            self.statement(DEPTH);
        }
        // What locals hold in the end is seen by half of the functions only: it must not matter to the pass.
        if self.stream.once_in(2) {
            for local in 0..self.counters() {
                self.store_local(local);
            }
        }
        for kind in self.signatures[self.index].results.clone() {
            self.expression(kind, DEPTH);
        }
        let parameters = self.signatures[self.index].parameters.len();
        let mut function = Function::new_with_locals_types(self.locals[parameters..].iter().copied());
        function.raw(self.code.iter().copied());
        function.instructions().end();
        function
    }

    fn sink(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    /// The first of the counters: locals before it may be set.
    fn counters(&self) -> u32 {
        self.locals.len() as u32 - LOOPS
    }

    fn local(&mut self, kind: ValType) -> u32 {
        let fitting: Vec<u32> =
            (0..self.counters()).filter(|local| self.locals[*local as usize] == kind).collect();
        *self.stream.one_of(&fitting)
    }

    fn global(&mut self, kind: ValType) -> u32 {
        let place = TYPES.iter().position(|known| *known == kind).expect("one of the types") as u32;
        place * GLOBALS + self.stream.below(GLOBALS.into()) as u32
    }

    fn kind(&mut self) -> ValType {
        *self.stream.one_of(&TYPES)
    }

    /// An operand of memory: its address is on the stack, and small.
    fn place(&mut self) -> MemArg {
        MemArg {
            offset: self.stream.below(MEMORY_BYTES - 64),
            align: 0,
            target: MemArgTarget::Memory(0),
            ordering: None,
        }
    }

    fn address(&mut self) {
        let address = self.stream.below(32) as i32;
        self.sink().i32_const(address);
    }

    fn store_local(&mut self, local: u32) {
        self.address();
        self.sink().local_get(local);
        self.store(self.locals[local as usize]);
    }

    fn store(&mut self, kind: ValType) {
        let place = self.place();
        let sink = &mut self.sink();
        match kind {
            ValType::F32 => sink.f32_store(place),
            ValType::F64 => sink.f64_store(place),
            ValType::V128 => sink.v128_store(place),
            _ => sink.i32_store(place),
        };
    }

    fn statement(&mut self, depth: u32) {
        let kind = self.kind();
        let depth = depth.saturating_sub(1);
        match self.stream.below(14) {
            0..=2 => {
                self.address();
                self.expression(kind, depth);
                self.store(kind);
            }
            3..=5 => {
                self.expression(kind, depth);
                let local = self.local(kind);
                self.sink().local_set(local);
            }
            6 => {
                self.expression(kind, depth);
                let global = self.global(kind);
                self.sink().global_set(global);
            }
            7 => {
                self.expression(kind, depth);
                self.sink().drop();
            }
            8 => {
                let (from, to) = (self.local(kind), self.local(kind));
                self.sink().local_get(from).local_set(to);
            }
            9 => self.repeat(depth),
            10 => self.branch_away(),
            11 => self.several(depth),
            12 => {
                self.expression(ValType::I32, depth);
                self.sink().if_(BlockType::Empty);
                self.inside(vec![], |body| body.statement(depth));
                if self.stream.once_in(2) {
                    self.sink().else_();
                    self.inside(vec![], |body| body.statement(depth));
                }
                self.sink().end();
            }
            _ => {
                self.sink().block(BlockType::Empty);
                self.inside(vec![], |body| {
                    body.statement(depth);
                    body.expression(ValType::I32, depth);
                    body.sink().br_if(0);
                    body.statement(depth);
                });
                self.sink().end();
            }
        }
    }

    /// Writes code inside of a block whose label takes these.
    fn inside(&mut self, label: Vec<ValType>, write: impl FnOnce(&mut Self)) {
        self.inside_label(Some(label), write);
    }

    fn inside_label(&mut self, label: Option<Vec<ValType>>, write: impl FnOnce(&mut Self)) {
        self.labels.push(label);
        write(self);
        self.labels.pop();
    }

    /// A loop of statements.
    fn repeat(&mut self, depth: u32) {
        if self.loops == LOOPS || depth == 0 {
            return;
        }
        let counter = self.counters() + self.loops;
        self.loops += 1;
        let rounds = 1 + self.stream.below(ROUNDS as u64) as i32;
        self.sink().i32_const(rounds).local_set(counter).loop_(BlockType::Empty);
        self.inside_label(None, |body| {
            for _ in 0..1 + body.stream.below(3) {
                body.statement(depth);
            }
        });
        self.count(counter);
        self.sink().br_if(0).end();
        self.loops -= 1;
    }

    fn count(&mut self, counter: u32) {
        self.sink().local_get(counter).i32_const(1).i32_sub().local_tee(counter);
    }

    /// Leaves a block, or the function, with values that nothing has looked at yet.
    fn branch_away(&mut self) {
        let labels: Vec<(u32, Vec<ValType>)> = (0..)
            .zip(self.labels.iter().rev())
            .filter_map(|(depth, label)| Some((depth, label.clone()?)))
            .collect();
        let (target, values) = self.stream.one_of(&labels).clone();
        self.expression(ValType::I32, 1);
        self.sink().if_(BlockType::Empty);
        self.inside(vec![], |body| {
            for kind in values {
                body.expression(kind, 2);
            }
            if target as usize + 2 == body.labels.len() && body.stream.once_in(2) {
                body.sink().return_();
            } else if body.stream.once_in(2) {
                body.sink().i32_const(0).br_table([target + 1, target + 1], target + 1);
            } else {
                body.sink().br(target + 1);
            }
            // Behind it nothing is reached.
            if body.stream.once_in(2) {
                body.expression(ValType::F32, 1);
                body.sink().drop();
            }
        });
        self.sink().end();
    }

    /// A block with two results.
    fn several(&mut self, depth: u32) {
        let kinds = vec![self.kind(), self.kind()];
        let kind = self.types.index(&[], &kinds);
        self.sink().block(BlockType::FunctionType(kind));
        self.inside(kinds.clone(), |body| {
            for kind in &kinds {
                body.expression(*kind, depth);
            }
            if body.stream.once_in(2) {
                body.expression(ValType::I32, depth);
                body.sink().br_if(0);
            }
        });
        self.sink().end();
        for kind in kinds.into_iter().rev() {
            let local = self.local(kind);
            self.sink().local_set(local);
        }
    }

    /// Pushes a value.
    fn expression(&mut self, kind: ValType, depth: u32) {
        if depth == 0 || self.left == 0 {
            return self.leaf(kind);
        }
        self.left -= 1;
        let depth = depth - 1;
        match self.stream.below(24) {
            0..=3 => self.leaf(kind),
            4 => {
                self.expression(kind, depth);
                self.expression(kind, depth);
                self.expression(ValType::I32, depth);
                let choice = self.stream.below(2);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.select(),
                    _ => sink.typed_select(kind),
                };
            }
            5 => {
                self.expression(kind, depth);
                let local = self.local(kind);
                self.sink().local_tee(local);
            }
            6 => {
                self.sink().block(block(kind));
                self.inside(vec![kind], |body| {
                    body.expression(kind, depth);
                    if body.stream.once_in(2) {
                        body.expression(ValType::I32, depth);
                        body.sink().br_if(0);
                        body.change(kind, depth);
                    }
                });
                self.sink().end();
            }
            7 => {
                self.expression(ValType::I32, depth);
                self.sink().if_(block(kind));
                self.inside(vec![kind], |body| body.expression(kind, depth));
                self.sink().else_();
                self.inside(vec![kind], |body| body.expression(kind, depth));
                self.sink().end();
            }
            8 => self.carry(kind, depth),
            9 => self.call(kind, depth),
            _ => self.compute(kind, depth),
        }
    }

    /// A loop that takes a value and gives it to its next round.
    fn carry(&mut self, kind: ValType, depth: u32) {
        if self.loops == LOOPS {
            return self.leaf(kind);
        }
        let counter = self.counters() + self.loops;
        self.loops += 1;
        let rounds = 1 + self.stream.below(ROUNDS as u64) as i32;
        self.sink().i32_const(rounds).local_set(counter);
        self.expression(kind, 1);
        let carried = self.types.index(&[kind], &[kind]);
        self.sink().loop_(BlockType::FunctionType(carried));
        self.inside_label(None, |body| body.change(kind, depth));
        self.count(counter);
        self.sink().br_if(0).end();
        self.loops -= 1;
    }

    /// Makes another value of the one on the stack.
    fn change(&mut self, kind: ValType, depth: u32) {
        self.expression(kind, depth.saturating_sub(2));
        self.binary(kind);
    }

    fn call(&mut self, kind: ValType, depth: u32) {
        let behind = self.index + 1..self.signatures.len();
        let fitting: Vec<usize> =
            behind.filter(|index| self.signatures[*index].results.first() == Some(&kind)).collect();
        if fitting.is_empty() || self.loops > 0 {
            return self.compute(kind, depth);
        }
        let callee = *self.stream.one_of(&fitting);
        let Signature { parameters, results } = self.signatures[callee].clone();
        for parameter in &parameters {
            self.expression(*parameter, depth.min(2));
        }
        if self.stream.once_in(2) {
            self.sink().call(callee as u32);
        } else {
            let kind = self.types.index(&parameters, &results);
            self.sink().i32_const(callee as i32).call_indirect(0, kind);
        }
        for result in results[1..].iter().rev() {
            let local = self.local(*result);
            self.sink().local_set(local);
        }
    }

    fn leaf(&mut self, kind: ValType) {
        match self.stream.below(8) {
            0..=3 => {
                let local = self.local(kind);
                self.sink().local_get(local);
            }
            4 => {
                let global = self.global(kind);
                self.sink().global_get(global);
            }
            5 | 6 => {
                self.address();
                let place = self.place();
                let sink = &mut self.sink();
                match kind {
                    ValType::F32 => sink.f32_load(place),
                    ValType::F64 => sink.f64_load(place),
                    ValType::V128 => sink.v128_load(place),
                    _ => sink.i32_load(place),
                };
            }
            _ => match kind {
                ValType::F32 => {
                    let bits = f32_bits(self.stream);
                    self.sink().f32_const(Ieee32::new(bits));
                }
                ValType::F64 => {
                    let bits = f64_bits(self.stream);
                    self.sink().f64_const(Ieee64::new(bits));
                }
                ValType::V128 => {
                    let bits = v128_bits(self.stream);
                    self.sink().v128_const(bits as i128);
                }
                _ => {
                    let value = self.stream.below(4) as i32;
                    self.sink().i32_const(value);
                }
            },
        }
    }

    fn compute(&mut self, kind: ValType, depth: u32) {
        match kind {
            ValType::F32 => self.compute_f32(depth),
            ValType::F64 => self.compute_f64(depth),
            ValType::V128 => self.compute_v128(depth),
            _ => self.compute_i32(depth),
        }
    }

    fn compute_f32(&mut self, depth: u32) {
        use ValType::{F32, F64, I32, V128};
        let choice = self.stream.below(14);
        match choice {
            0..=5 => {
                self.expression(F32, depth);
                self.expression(F32, depth);
                self.binary(F32);
            }
            6..=8 => {
                self.expression(F32, depth);
                let choice = self.stream.below(7);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.f32_sqrt(),
                    1 => sink.f32_ceil(),
                    2 => sink.f32_floor(),
                    3 => sink.f32_trunc(),
                    4 => sink.f32_nearest(),
                    5 => sink.f32_abs(),
                    _ => sink.f32_neg(),
                };
            }
            9 | 10 => {
                self.expression(F64, depth);
                self.sink().f32_demote_f64();
            }
            11 => {
                self.expression(I32, depth);
                let choice = self.stream.below(3);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.f32_reinterpret_i32(),
                    1 => sink.f32_convert_i32_s(),
                    _ => sink.i64_extend_i32_u().f32_convert_i64_u(),
                };
            }
            _ => {
                self.expression(V128, depth);
                let lane = self.stream.below(4) as u8;
                self.sink().f32x4_extract_lane(lane);
            }
        }
    }

    fn compute_f64(&mut self, depth: u32) {
        use ValType::{F32, F64, I32, V128};
        match self.stream.below(14) {
            0..=5 => {
                self.expression(F64, depth);
                self.expression(F64, depth);
                self.binary(F64);
            }
            6..=8 => {
                self.expression(F64, depth);
                let choice = self.stream.below(7);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.f64_sqrt(),
                    1 => sink.f64_ceil(),
                    2 => sink.f64_floor(),
                    3 => sink.f64_trunc(),
                    4 => sink.f64_nearest(),
                    5 => sink.f64_abs(),
                    _ => sink.f64_neg(),
                };
            }
            9 | 10 => {
                self.expression(F32, depth);
                self.sink().f64_promote_f32();
            }
            11 => {
                self.expression(I32, depth);
                self.sink().f64_convert_i32_u();
            }
            12 => {
                // The bits of a number, changed and read again.
                self.expression(F64, depth);
                self.sink().i64_reinterpret_f64().i64_const(1).i64_xor().f64_reinterpret_i64();
            }
            _ => {
                self.expression(V128, depth);
                let lane = self.stream.below(2) as u8;
                self.sink().f64x2_extract_lane(lane);
            }
        }
    }

    fn compute_i32(&mut self, depth: u32) {
        use ValType::{F32, F64, I32, V128};
        match self.stream.below(8) {
            0 => {
                self.expression(F32, depth);
                self.sink().i32_reinterpret_f32();
            }
            1 => {
                self.expression(F64, depth);
                self.sink().i64_reinterpret_f64().i64_const(29).i64_shr_u().i32_wrap_i64();
            }
            2 => {
                self.expression(F32, depth);
                self.sink().i32_trunc_sat_f32_s();
            }
            3 => {
                self.expression(F64, depth);
                self.sink().i32_trunc_sat_f64_u();
            }
            4 => {
                self.expression(F32, depth);
                self.expression(F32, depth);
                let choice = self.stream.below(3);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.f32_eq(),
                    1 => sink.f32_ne(),
                    _ => sink.f32_lt(),
                };
            }
            5 => {
                self.expression(F64, depth);
                self.expression(F64, depth);
                let choice = self.stream.below(3);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.f64_ge(),
                    1 => sink.f64_ne(),
                    _ => sink.f64_gt(),
                };
            }
            6 => {
                self.expression(V128, depth);
                let choice = self.stream.below(3);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.v128_any_true(),
                    1 => sink.i8x16_bitmask(),
                    _ => sink.i32x4_extract_lane(2),
                };
            }
            _ => {
                self.expression(I32, depth);
                self.expression(I32, depth);
                self.sink().i32_add();
            }
        }
    }

    fn compute_v128(&mut self, depth: u32) {
        use ValType::{F32, F64, V128};
        match self.stream.below(20) {
            0..=8 => {
                self.expression(V128, depth);
                self.expression(V128, depth);
                self.binary(V128);
            }
            9..=12 => {
                self.expression(V128, depth);
                self.unary_v128();
            }
            13 => {
                self.expression(F32, depth);
                self.sink().f32x4_splat();
            }
            14 => {
                self.expression(F64, depth);
                self.sink().f64x2_splat();
            }
            15 => {
                self.expression(V128, depth);
                self.expression(F32, depth);
                let lane = self.stream.below(4) as u8;
                self.sink().f32x4_replace_lane(lane);
            }
            16 => {
                self.expression(V128, depth);
                self.expression(F64, depth);
                let lane = self.stream.below(2) as u8;
                self.sink().f64x2_replace_lane(lane);
            }
            17 => {
                self.expression(V128, depth);
                self.expression(V128, depth);
                self.expression(V128, depth);
                self.sink().v128_bitselect();
            }
            18 => {
                self.expression(V128, depth);
                self.expression(V128, depth);
                let lanes = std::array::from_fn(|_| self.stream.below(32) as u8);
                self.sink().i8x16_shuffle(lanes);
            }
            _ => {
                self.address();
                self.expression(V128, depth);
                let place = self.place();
                let choice = self.stream.below(4);
                let sink = &mut self.sink();
                match choice {
                    0 => sink.v128_load32_lane(place, 3),
                    1 => sink.v128_load64_lane(place, 0),
                    2 => sink.drop().v128_load32_zero(place),
                    _ => sink.drop().v128_load64_splat(place),
                };
            }
        }
    }

    fn unary_v128(&mut self) {
        let choice = self.stream.below(20);
        let sink = &mut self.sink();
        match choice {
            0 => sink.f32x4_sqrt(),
            1 => sink.f32x4_ceil(),
            2 => sink.f32x4_floor(),
            3 => sink.f32x4_trunc(),
            4 => sink.f32x4_nearest(),
            5 => sink.f32x4_abs(),
            6 => sink.f32x4_neg(),
            7 => sink.f64x2_sqrt(),
            8 => sink.f64x2_ceil(),
            9 => sink.f64x2_floor(),
            10 => sink.f64x2_trunc(),
            11 => sink.f64x2_nearest(),
            12 => sink.f64x2_abs(),
            13 => sink.f64x2_neg(),
            14 => sink.f32x4_demote_f64x2_zero(),
            15 => sink.f64x2_promote_low_f32x4(),
            16 => sink.i32x4_trunc_sat_f32x4_s(),
            17 => sink.i32x4_trunc_sat_f64x2_u_zero(),
            18 => sink.f32x4_convert_i32x4_u(),
            _ => sink.f64x2_convert_low_i32x4_s(),
        };
    }

    /// Makes one value of the two on the stack.
    fn binary(&mut self, kind: ValType) {
        let choice = self.stream.below(22);
        let sink = &mut self.sink();
        match kind {
            ValType::F32 => match choice % 7 {
                0 => sink.f32_add(),
                1 => sink.f32_sub(),
                2 => sink.f32_mul(),
                3 => sink.f32_div(),
                4 => sink.f32_min(),
                5 => sink.f32_max(),
                _ => sink.f32_copysign(),
            },
            ValType::F64 => match choice % 7 {
                0 => sink.f64_add(),
                1 => sink.f64_sub(),
                2 => sink.f64_mul(),
                3 => sink.f64_div(),
                4 => sink.f64_min(),
                5 => sink.f64_max(),
                _ => sink.f64_copysign(),
            },
            ValType::V128 => match choice {
                0 => sink.f32x4_add(),
                1 => sink.f32x4_sub(),
                2 => sink.f32x4_mul(),
                3 => sink.f32x4_div(),
                4 => sink.f32x4_min(),
                5 => sink.f32x4_max(),
                6 => sink.f32x4_pmin(),
                7 => sink.f32x4_pmax(),
                8 => sink.f64x2_add(),
                9 => sink.f64x2_sub(),
                10 => sink.f64x2_mul(),
                11 => sink.f64x2_div(),
                12 => sink.f64x2_min(),
                13 => sink.f64x2_max(),
                14 => sink.f64x2_pmin(),
                15 => sink.f64x2_pmax(),
                16 => sink.f32x4_eq(),
                17 => sink.f64x2_lt(),
                18 => sink.v128_xor(),
                19 => sink.v128_or(),
                20 => sink.i32x4_add(),
                _ => sink.v128_andnot(),
            },
            _ => sink.i32_xor(),
        };
    }
}
