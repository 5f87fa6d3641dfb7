// SPDX-License-Identifier: Apache-2.0
//! Reads what is typed at the prompt: whether it goes on, what it declares, and whether its last
//! statement has a value to show.

use std::ops::Range;

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    BindingPattern, Class, Function, ImportDeclaration, ImportDeclarationSpecifier, Program,
    Statement, VariableDeclaration, VariableDeclarationKind,
};
use oxc_parser::{Parser, ParserReturn};
use oxc_span::{GetSpan, SourceType, Span};

/// How an entry reads.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// It goes on over further lines: a bracket, a template or the like is still open.
    Unfinished,
    /// It is no JavaScript; the host says why.
    Wrong,
    /// It is a script.
    Script(Script),
}

/// The outermost statements of an entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The statements in order.
    pub statements: Vec<Outermost>,
    /// The expression whose value the entry has: that of its last statement.
    pub value: Option<Range<usize>>,
}

/// One outermost statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Outermost {
    /// The byte behind it.
    pub end: usize,
    /// What it declares.
    pub declares: Vec<Declared>,
}

/// A name that an entry declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The name.
    pub name: String,
    /// How.
    pub how: How,
}

/// How a name is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// `const`.
    Constant,
    /// `let`, `var` or `class`.
    Variable,
    /// `function`: it is there before the first statement.
    Function,
    /// `import`; with an import of this one name alone.
    Import(String),
}

/// Reads an entry.
pub fn read(entry: &str) -> Reading {
    // An entry that begins with a brace is an object rather than a block, if it can be one.
    if entry.trim_start().starts_with('{')
        && let Some(value) = object(entry)
    {
        return Reading::Script(Script {
            statements: vec![Outermost {
                end: value.end,
                declares: Vec::new(),
            }],
            value: Some(value),
        });
    }
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, entry, SourceType::mjs()).parse();
    if parsed.diagnostics.is_empty() && !parsed.panicked {
        return Reading::Script(script(&parsed.program));
    }
    match goes_on(entry, &parsed) {
        true => Reading::Unfinished,
        false => Reading::Wrong,
    }
}

/// Whether this is one expression that can stand by itself.
pub fn is_expression(text: &str) -> bool {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::mjs()).parse_expression();
    parsed.is_ok()
}

/// The place of the object that the whole entry is.
fn object(entry: &str) -> Option<Range<usize>> {
    let text = entry.trim();
    let start = entry.find(text)?;
    is_expression(&format!("({text}\n)")).then(|| start..start + text.len())
}

/// Whether the parser has missed something at the very end.
fn goes_on(entry: &str, parsed: &ParserReturn<'_>) -> bool {
    let text = entry.trim_end();
    // Here the parser names the place where it could have gone another way.
    if text.ends_with("=>") || text.ends_with("else") {
        return true;
    }
    let end = text.len();
    parsed.diagnostics.iter().any(|diagnostic| {
        diagnostic.labels.iter().any(|label| {
            let (from, to) = (label.span().start as usize, label.span().end as usize);
            let opening = entry.get(from..).and_then(|text| text.chars().next());
            match opening {
                // What is missed at the end has no length.
                _ if from >= end && to <= from => true,
                _ if diagnostic.message.contains("function body") => to >= end,
                Some('`') => to >= end,
                // The part of a template behind a substitution.
                Some('}') => to >= end && diagnostic.message.contains("Unterminated"),
                Some('/') => diagnostic.message.contains("multiline comment"),
                // A backslash carries a string on over the line; else no further line mends it.
                Some('"' | '\'') => entry.ends_with('\\'),
                _ => false,
            }
        })
    })
}

fn script(program: &Program<'_>) -> Script {
    let mut script = Script::default();
    for directive in &program.directives {
        // Text alone is a value here, not an order to the engine.
        script.value = Some(range(directive.expression.span));
        script.statements.push(Outermost {
            end: range(directive.span).end,
            declares: Vec::new(),
        });
    }
    for statement in &program.body {
        script.value = match statement {
            Statement::ExpressionStatement(statement) => Some(range(statement.expression.span())),
            _ => None,
        };
        script.statements.push(Outermost {
            end: range(statement.span()).end,
            declares: declared(statement),
        });
    }
    script
}

fn range(span: Span) -> Range<usize> {
    span.start as usize..span.end as usize
}

fn declared(statement: &Statement<'_>) -> Vec<Declared> {
    match statement {
        Statement::VariableDeclaration(declaration) => variables(declaration),
        Statement::FunctionDeclaration(function) => function_name(function).into_iter().collect(),
        Statement::ClassDeclaration(class) => class_name(class).into_iter().collect(),
        Statement::ImportDeclaration(import) => imports(import),
        _ => Vec::new(),
    }
}

fn variables(declaration: &VariableDeclaration<'_>) -> Vec<Declared> {
    let how = match declaration.kind {
        VariableDeclarationKind::Const => How::Constant,
        VariableDeclarationKind::Let | VariableDeclarationKind::Var => How::Variable,
        // What is disposed of at the end of the entry is not there in the next one.
        VariableDeclarationKind::Using | VariableDeclarationKind::AwaitUsing => return Vec::new(),
    };
    let names = |pattern: &BindingPattern<'_>| {
        let names = pattern.get_binding_identifiers();
        names
            .iter()
            .map(|name| name.name.to_string())
            .collect::<Vec<_>>()
    };
    let declarations = declaration.declarations.iter();
    declarations
        .flat_map(|declarator| names(&declarator.id))
        .map(|name| Declared {
            name,
            how: how.clone(),
        })
        .collect()
}

fn function_name(function: &Function<'_>) -> Option<Declared> {
    let name = function.id.as_ref()?;
    Some(Declared {
        name: name.name.to_string(),
        how: How::Function,
    })
}

fn class_name(class: &Class<'_>) -> Option<Declared> {
    let name = class.id.as_ref()?;
    Some(Declared {
        name: name.name.to_string(),
        how: How::Variable,
    })
}

fn imports(import: &ImportDeclaration<'_>) -> Vec<Declared> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let source = quoted(import.source.value.as_str());
    let specifiers = import.specifiers.iter().flatten();
    specifiers
        .map(|specifier| {
            let name = specifier.name().to_string();
            let what = match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(specifier) => {
                    format!(
                        "{{{} as {name}}}",
                        quoted(specifier.imported.name().as_str())
                    )
                }
                ImportDeclarationSpecifier::ImportDefaultSpecifier(_) => name.clone(),
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(_) => format!("* as {name}"),
            };
            Declared {
                how: How::Import(format!("import {what} from {source};")),
                name,
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "repl_entry_tests.rs"]
mod tests;
