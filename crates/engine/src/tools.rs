//! What tools a module offers, read without running any of its code.

use std::{format, string::ToString, vec::Vec};

use glasshouse_protocol::ToolDescription;
use wasmparser::{Parser, Payload};

use crate::ModuleError;

/// The custom section that describes tools: JSON objects of [`ToolDescription`]'s form, or arrays of them, one behind
/// the other. A module may have several such sections.
pub const TOOL_SECTION: &str = "glasshouse.tool";

/// Bytes of all tool sections of a module: a description is read by a model, whose context is smaller than this.
const SECTION_BYTES_MAXIMUM: usize = 1 << 20;

/// Tools that a module may describe: more do not fit into a prompt.
const TOOLS_MAXIMUM: usize = 256;

/// The tools that a module describes, in order; none when it has no such section. The rest of the module is not looked
/// at more than is needed to find the sections.
///
/// # Errors
/// [`ModuleError::NotWasm`], [`ModuleError::Malformed`] when the sections cannot be told apart,
/// [`ModuleError::TooLarge`], [`ModuleError::ToolDescription`] when a section is not such JSON, or a description has no
/// name or no entry, or a name that another has.
pub fn describe_tools(module: &[u8]) -> Result<Vec<ToolDescription>, ModuleError> {
    if !module.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm);
    }
    let mut tools: Vec<ToolDescription> = Vec::new();
    let mut bytes = 0;
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == TOOL_SECTION
        {
            bytes += section.data().len();
            if bytes > SECTION_BYTES_MAXIMUM {
                return Err(too_large(
                    "the size of the tool descriptions in bytes",
                    bytes,
                    SECTION_BYTES_MAXIMUM,
                ));
            }
            read_section(section.data(), &mut tools)?;
        }
    }
    for (index, tool) in tools.iter().enumerate() {
        if !is_name(&tool.name) {
            return Err(malformed(format!("`{}` is not a tool's name ([a-z][a-z0-9_]*)", tool.name)));
        }
        if tool.entry.is_empty() {
            return Err(malformed(format!("the tool `{}` names no entry", tool.name)));
        }
        if tools[..index].iter().any(|other| other.name == tool.name) {
            return Err(malformed(format!("the tool `{}` is described twice", tool.name)));
        }
    }
    Ok(tools)
}

fn read_section(data: &[u8], tools: &mut Vec<ToolDescription>) -> Result<(), ModuleError> {
    for value in serde_json::Deserializer::from_slice(data).into_iter::<serde_json::Value>() {
        let values = match value.map_err(|error| malformed(error.to_string()))? {
            serde_json::Value::Array(values) => values,
            value => std::vec![value],
        };
        for value in values {
            if tools.len() == TOOLS_MAXIMUM {
                return Err(too_large("the number of tools", TOOLS_MAXIMUM + 1, TOOLS_MAXIMUM));
            }
            tools.push(serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?);
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn malformed(reason: std::string::String) -> ModuleError {
    ModuleError::ToolDescription { reason }
}

fn too_large(what: &str, size: usize, limit: usize) -> ModuleError {
    ModuleError::TooLarge { what: what.into(), size: size as u64, limit: limit as u64 }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use wasm_encoder::{CustomSection, Module};

    use super::*;

    fn module(sections: &[&str]) -> Vec<u8> {
        let mut module = Module::new();
        for data in sections {
            module.section(&CustomSection { name: TOOL_SECTION.into(), data: data.as_bytes().into() });
        }
        module.section(&CustomSection { name: "other".into(), data: b"not json".into() });
        module.finish()
    }

    fn tool(name: &str) -> std::string::String {
        format!(r#"{{"name":"{name}","description":"d","parameters":{{"type":"object"}},"entry":"{name}"}}"#)
    }

    fn names(sections: &[&str]) -> Vec<std::string::String> {
        describe_tools(&module(sections)).unwrap().into_iter().map(|tool| tool.name).collect()
    }

    #[test]
    fn objects_arrays_lines_and_several_sections_are_all_read_in_order() {
        assert_eq!(names(&[]), vec![""; 0]);
        assert_eq!(names(&[&tool("a")]), ["a"]);
        assert_eq!(names(&[&format!("[{},{}]", tool("a"), tool("b")), &tool("c")]), ["a", "b", "c"]);
        assert_eq!(names(&[&format!("{}\n{}{}\n", tool("a"), tool("b"), tool("c"))]), ["a", "b", "c"]);
    }

    #[test]
    fn malformed_descriptions_are_refused() {
        let twice = format!("{}{}", tool("a"), tool("a"));
        for bad in
            ["{", "[1]", "{}", r#"{"name":"a","description":"d","parameters":{}}"#, &tool("A b"), &twice]
        {
            let error = describe_tools(&module(&[bad])).unwrap_err();
            assert!(matches!(error, ModuleError::ToolDescription { .. }), "{bad}: {error}");
        }
        let large = " ".repeat(SECTION_BYTES_MAXIMUM + 1);
        assert!(matches!(describe_tools(&module(&[&large])), Err(ModuleError::TooLarge { .. })));
        assert_eq!(describe_tools(b"#!/bin/sh"), Err(ModuleError::NotWasm));
    }
}
