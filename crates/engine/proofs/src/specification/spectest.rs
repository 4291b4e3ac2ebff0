//! The module `spectest`, from which the specification's scripts import.

use crate::{engines::Imports, host::Host};

const SPECTEST: &str = r#"(module
    (global (export "global_i32") i32 (i32.const 666))
    (global (export "global_i64") i64 (i64.const 666))
    (global (export "global_f32") f32 (f32.const 666.6))
    (global (export "global_f64") f64 (f64.const 666.6))
    (table (export "table") 10 20 funcref)
    (memory (export "memory") 1 2)
    (func (export "print"))
    (func (export "print_i32") (param i32))
    (func (export "print_i64") (param i64))
    (func (export "print_f32") (param f32))
    (func (export "print_f64") (param f64))
    (func (export "print_i32_f32") (param i32 f32))
    (func (export "print_f64_f64") (param f64 f64)))"#;

/// Instantiates it, as it stands, and lets scripts import it.
pub(super) fn imports(host: &mut Host) -> Imports {
    let buffer = wast::parser::ParseBuffer::new(SPECTEST).expect("it is text");
    let mut module: wast::Wat<'_> = wast::parser::parse(&buffer).expect("it is a module");
    let module = module.encode().expect("it is valid");
    let instance = host.instantiate(&module, &Imports::new()).expect("it imports nothing");
    let exports = host.exports(instance).iter();
    exports.map(|(name, item)| (("spectest".to_owned(), name.clone()), *item)).collect()
}
