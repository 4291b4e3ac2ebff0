//! Fuel against an independent reference: random structured programs are interpreted as trees, counting operators as
//! they execute, and compared with what the rewritten module uses.

use glasshouse_devices::{Context, StepCall, StepOutcome, TrapKind};
use glasshouse_engine::{Instance, InstanceLimits, Machine, native::Wasmtime};
use proptest::prelude::*;
use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, InstructionSink,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// A statement. Conditions are bits of a linear congruential generator in a local, so paths vary.
#[derive(Debug, Clone)]
enum Node {
    Nops(u8),
    Block(Vec<Node>),
    Loop(Vec<Node>),
    If(Vec<Node>, Option<Vec<Node>>),
    Break(u8),
    BreakIf(u8),
    Table(Vec<u8>),
    Return,
    Call,
    Trap,
    Fill(u16),
}

/// Local of the generator's state.
const STATE: u32 = 0;
const MULTIPLIER: i32 = 1_664_525;
const INCREMENT: i32 = 1_013_904_223;
/// Operators of `encode_bit`.
const BIT_COST: u64 = 10;

fn encode_bit(sink: &mut InstructionSink<'_>, mask: i32) {
    sink.local_get(STATE).i32_const(MULTIPLIER).i32_mul().i32_const(INCREMENT).i32_add().local_tee(STATE);
    sink.i32_const(16).i32_shr_u().i32_const(mask).i32_and();
}

fn encode(nodes: &[Node], depth: u32, callee: Option<u32>, sink: &mut InstructionSink<'_>) {
    for node in nodes {
        match node {
            Node::Nops(count) => (0..*count).for_each(|_| {
                sink.nop();
            }),
            Node::Block(body) => {
                sink.block(BlockType::Empty);
                encode(body, depth + 1, callee, sink);
                sink.end();
            }
            Node::Loop(body) => {
                sink.loop_(BlockType::Empty);
                encode(body, depth + 1, callee, sink);
                sink.end();
            }
            Node::If(then, otherwise) => {
                encode_bit(sink, 1);
                sink.if_(BlockType::Empty);
                encode(then, depth + 1, callee, sink);
                if let Some(otherwise) = otherwise {
                    sink.else_();
                    encode(otherwise, depth + 1, callee, sink);
                }
                sink.end();
            }
            Node::Break(label) => {
                sink.br(u32::from(*label) % (depth + 1));
            }
            Node::BreakIf(label) => {
                encode_bit(sink, 1);
                sink.br_if(u32::from(*label) % (depth + 1));
            }
            Node::Table(labels) => {
                encode_bit(sink, 3);
                let labels: Vec<u32> = labels.iter().map(|label| u32::from(*label) % (depth + 1)).collect();
                sink.br_table(labels[1..].to_vec(), labels[0]);
            }
            Node::Return => {
                sink.return_();
            }
            Node::Call => {
                if let Some(callee) = callee {
                    sink.local_get(STATE).call(callee);
                }
            }
            Node::Trap => {
                sink.unreachable();
            }
            Node::Fill(bytes) => {
                sink.i32_const(0).i32_const(0).i32_const((*bytes).into()).memory_fill(0);
            }
        }
    }
}

/// How a statement list ends.
enum Flow {
    Next,
    /// A branch to the label this many blocks further out.
    Branch(u32),
    Trapped,
    /// More fuel was used than there is.
    Exhausted,
}

/// Interprets trees and counts.
struct Reference<'a> {
    functions: &'a [Vec<Node>],
    used: u64,
    fuel: u64,
}

impl Reference<'_> {
    fn bit(&mut self, state: &mut i32, mask: i32) -> i32 {
        self.used += BIT_COST;
        *state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        ((*state as u32 >> 16) as i32) & mask
    }

    /// Runs the body of function `index`; its outermost label is the function itself.
    fn call(&mut self, index: usize, mut state: i32) -> Flow {
        let functions = self.functions;
        match self.run(&functions[index], 0, index, &mut state) {
            Flow::Branch(_) => Flow::Next,
            flow => flow,
        }
    }

    fn run(&mut self, nodes: &[Node], depth: u32, function: usize, state: &mut i32) -> Flow {
        for node in nodes {
            if self.used > self.fuel {
                return Flow::Exhausted;
            }
            let flow = match node {
                Node::Nops(count) => {
                    self.used += u64::from(*count);
                    Flow::Next
                }
                Node::Block(body) => leave(self.run(body, depth + 1, function, state)),
                Node::Loop(body) => loop {
                    match self.run(body, depth + 1, function, state) {
                        Flow::Branch(0) if self.used > self.fuel => break Flow::Exhausted,
                        Flow::Branch(0) => {}
                        flow => break leave(flow),
                    }
                },
                Node::If(then, otherwise) => {
                    let condition = self.bit(state, 1);
                    self.used += 1;
                    let body = if condition == 1 { Some(then) } else { otherwise.as_ref() };
                    body.map_or(Flow::Next, |body| leave(self.run(body, depth + 1, function, state)))
                }
                Node::Break(label) => {
                    self.used += 1;
                    Flow::Branch(u32::from(*label) % (depth + 1))
                }
                Node::BreakIf(label) => {
                    let condition = self.bit(state, 1);
                    self.used += 1;
                    if condition == 1 { Flow::Branch(u32::from(*label) % (depth + 1)) } else { Flow::Next }
                }
                Node::Table(labels) => {
                    let index = self.bit(state, 3) as usize;
                    self.used += 1;
                    let label = labels[1..].get(index).unwrap_or(&labels[0]);
                    Flow::Branch(u32::from(*label) % (depth + 1))
                }
                Node::Return => {
                    self.used += 1;
                    Flow::Branch(depth)
                }
                Node::Call if function + 1 < self.functions.len() => {
                    self.used += 2;
                    self.call(function + 1, *state)
                }
                Node::Call => Flow::Next,
                Node::Trap => {
                    self.used += 1;
                    Flow::Trapped
                }
                Node::Fill(bytes) => {
                    self.used += 4 + u64::from(*bytes) / 8;
                    Flow::Next
                }
            };
            if !matches!(flow, Flow::Next) {
                return flow;
            }
        }
        Flow::Next
    }
}

/// What a block makes of how its body ended.
fn leave(flow: Flow) -> Flow {
    match flow {
        Flow::Branch(0) => Flow::Next,
        Flow::Branch(label) => Flow::Branch(label - 1),
        flow => flow,
    }
}

/// Function 0 is `gh_allocate`, 1 the entry, then the program's functions; each may call the next.
fn module(functions: &[Vec<Node>]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 2], [ValType::I64]);
    types.ty().function([ValType::I32], []);
    let mut declared = FunctionSection::new();
    declared.function(0).function(1);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("gh_allocate", ExportKind::Func, 0).export("run", ExportKind::Func, 1);
    let mut code = CodeSection::new();
    let mut body = Function::new([]);
    body.instructions().i32_const(0).end();
    code.function(&body);
    let mut body = Function::new([]);
    body.instructions().i32_const(1).call(2).i64_const(0).end();
    code.function(&body);
    for (index, nodes) in functions.iter().enumerate() {
        declared.function(2);
        let mut body = Function::new([]);
        let callee = (index + 1 < functions.len()).then_some(index as u32 + 3);
        encode(nodes, 0, callee, &mut body.instructions());
        body.instructions().end();
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&memories).section(&exports).section(&code);
    module.finish()
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let leaf = prop_oneof![
        6 => (0u8..5).prop_map(Node::Nops),
        2 => any::<u8>().prop_map(Node::Break),
        4 => any::<u8>().prop_map(Node::BreakIf),
        2 => prop::collection::vec(any::<u8>(), 1..5).prop_map(Node::Table),
        1 => Just(Node::Return),
        3 => Just(Node::Call),
        1 => Just(Node::Trap),
        1 => (0u16..500).prop_map(Node::Fill),
    ];
    let node = leaf.prop_recursive(5, 60, 5, |node| {
        let body = || prop::collection::vec(node.clone(), 0..5);
        prop_oneof![
            body().prop_map(Node::Block),
            body().prop_map(Node::Loop),
            (body(), prop::option::of(prop::collection::vec(node.clone(), 0..5)))
                .prop_map(|(then, otherwise)| Node::If(then, otherwise)),
        ]
    });
    prop::collection::vec(node, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fuel_is_what_an_interpreter_counts(functions in prop::collection::vec(nodes(), 1..4), fuel in 0u64..20_000) {
        let machine = Wasmtime::new().unwrap();
        let compiled = machine.compile(&module(&functions)).unwrap();
        let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).unwrap();
        let call = StepCall::Start { entry: "run".into(), input: vec![] };
        let report = instance.step(&call, &mut Context::new(0, [0; 32]), fuel);

        // `gh_allocate` is 1, the entry 3.
        let mut reference = Reference { functions: &functions, used: 4, fuel };
        let flow = reference.call(0, 1);
        let exhausted = reference.used > fuel;
        match report.outcome {
            StepOutcome::Returned(_) => {
                prop_assert!(matches!(flow, Flow::Next) && !exhausted);
                prop_assert_eq!(report.fuel_used, reference.used);
            }
            StepOutcome::Trapped { kind: TrapKind::OutOfFuel, .. } => {
                prop_assert!(exhausted, "{} of {fuel}", reference.used);
                prop_assert_eq!(report.fuel_used, fuel);
            }
            StepOutcome::Trapped { kind: TrapKind::Unreachable, .. } => {
                prop_assert!(matches!(flow, Flow::Trapped) && !exhausted);
                // Nothing stands behind `unreachable` in its segment; but callers have paid for what stands behind calls.
                prop_assert!(report.fuel_used >= reference.used);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
