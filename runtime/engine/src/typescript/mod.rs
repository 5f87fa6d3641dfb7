// SPDX-License-Identifier: Apache-2.0
//! TypeScript: a source whose types are taken out in place, so that every line and column stays.
//!
//! Only what has no effect when the script runs can be taken out. The parser recurses as deeply as the
//! source is nested and can take exponential time, so whoever calls [`without_types`] does so where both
//! are contained: [`World::without_types`](crate::World::without_types).

mod blanks;
mod erase;
mod error;

use oxc_allocator::Allocator;
use oxc_ast_visit::VisitJs;
use oxc_parser::{Parser, ParserReturn};
use oxc_span::SourceType;

pub use error::{MoreThanType, TypeScriptError};

/// Bytes of a source that is read as TypeScript; a longer one is refused.
pub const MAX_TYPESCRIPT_BYTES: usize = 1 << 20;

/// A source with blanks in the place of all that is TypeScript's alone.
///
/// # Errors
/// When something is more than a type, or the source is no TypeScript.
///
/// # Caveats
/// A deeply nested source overflows the stack, and there are short ones that take for ever.
pub fn without_types(source: &str) -> Result<String, TypeScriptError> {
    if source.len() > MAX_TYPESCRIPT_BYTES {
        return Err(TypeScriptError::Unreadable {
            reason: format!(
                "it has {} bytes, and {MAX_TYPESCRIPT_BYTES} are read at most",
                source.len()
            ),
        });
    }
    let allocator = Allocator::default();
    let ParserReturn {
        program,
        diagnostics,
        panicked,
        ..
    } = Parser::new(&allocator, source, SourceType::ts().with_module(true)).parse();
    // What the parser only warns of is V8's to judge.
    if let Some(first) = diagnostics.errors().next() {
        let label = first.labels.first();
        return Err(TypeScriptError::Syntax {
            message: first.message.to_string(),
            offset: label.map_or(0, |label| label.offset() as usize),
        });
    }
    if panicked {
        return Err(TypeScriptError::Unreadable {
            reason: "the parser gave up".to_owned(),
        });
    }
    let mut eraser = erase::Eraser::new(source);
    eraser.visit_program(&program);
    eraser.finish()
}

#[cfg(test)]
#[path = "erase_tests.rs"]
mod tests;
