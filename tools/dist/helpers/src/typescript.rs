// SPDX-License-Identifier: Apache-2.0
//! JavaScript and declarations from TypeScript, file by file.
//!
//! Types are taken away, not checked: `ci/clients.sh` checks them with the compiler of TypeScript itself. Declarations
//! come from one file alone, so what a module exports has its type written down.

use std::path::Path;

use oxc_allocator::Allocator;
use oxc_ast::ast::Program;
use oxc_codegen::{Codegen, CodegenOptions, CommentOptions};
use oxc_isolated_declarations::{IsolatedDeclarations, IsolatedDeclarationsOptions};
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

/// What `tsconfig.json` of the client says too.
const TARGET: &str = "es2022";

/// Why a file was not compiled: one line for each thing that the compiler says.
#[derive(Debug, thiserror::Error)]
#[error("Failed to compile {file}: {}", .problems.join("; "))]
pub struct CompileError {
    /// The file's name.
    pub file: String,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// What a module becomes.
#[derive(Debug)]
pub struct Compiled {
    /// The JavaScript, without types.
    pub javascript: String,
    /// The declarations, `.d.ts`.
    pub declarations: String,
}

/// Compiles one module; `file` is its name in messages.
///
/// # Errors
/// When the source is no TypeScript, or exports something whose type it does not say.
pub fn compile(file: &str, source: &str) -> Result<Compiled, CompileError> {
    let failed = |problems: Vec<String>| CompileError {
        file: file.to_owned(),
        problems,
    };
    let check = |problems: Vec<String>| match problems.is_empty() {
        true => Ok(()),
        false => Err(failed(problems)),
    };
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::ts()).parse();
    check(parsed.diagnostics.iter().map(ToString::to_string).collect())?;
    let mut program = parsed.program;

    let options = IsolatedDeclarationsOptions {
        strip_internal: false,
    };
    let declared = IsolatedDeclarations::new(&allocator, options).build(&program);
    check(
        declared
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect(),
    )?;
    let declarations = print(&declared.program);

    let meaning = SemanticBuilder::new().with_enum_eval(true).build(&program);
    check(
        meaning
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect(),
    )?;
    let options = TransformOptions::from_target(TARGET).map_err(|problem| failed(vec![problem]))?;
    let transformed = Transformer::new(&allocator, Path::new(file), &options)
        .build_with_scoping(meaning.semantic.into_scoping(), &mut program);
    check(
        transformed
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect(),
    )?;
    Ok(Compiled {
        javascript: print(&program),
        declarations,
    })
}

/// The text of a module. Comments that document what is exported stay.
fn print(program: &Program<'_>) -> String {
    let options = CodegenOptions {
        comments: CommentOptions {
            jsdoc: true,
            ..CommentOptions::disabled()
        },
        ..CodegenOptions::default()
    };
    Codegen::new().with_options(options).build(program).code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_leave_the_program_and_fill_the_declarations() {
        let compiled = compile(
            "a.ts",
            "import type { B } from './b.js';\n/** Adds. */\nexport function add(a: number, b: B): number { return a + b.n; }\n",
        )
        .unwrap();
        assert!(
            compiled.javascript.contains("function add(a, b)"),
            "{}",
            compiled.javascript
        );
        assert!(!compiled.javascript.contains("./b.js"));
        assert!(
            compiled
                .declarations
                .contains("function add(a: number, b: B): number"),
            "{}",
            compiled.declarations
        );
        assert!(compiled.declarations.contains("/** Adds. */"));
    }

    #[test]
    fn fields_that_a_constructor_declares_are_set() {
        let compiled = compile(
            "a.ts",
            "export class A { constructor(readonly size: number) {} }\n",
        )
        .unwrap();
        assert!(
            compiled.javascript.contains("this.size = size"),
            "{}",
            compiled.javascript
        );
    }

    #[test]
    fn an_export_without_a_type_is_refused_with_the_name_of_its_file() {
        let error = compile("b.ts", "export const LIMIT = 2 * 1024;\n").unwrap_err();
        assert!(error.to_string().contains("b.ts"), "{error}");
    }

    #[test]
    fn what_is_no_typescript_is_refused() {
        assert!(compile("c.ts", "export function (").is_err());
    }
}
