// SPDX-License-Identifier: Apache-2.0
//! Why a source could not be turned into JavaScript.

use std::fmt;

/// Why a source could not be turned into JavaScript.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeScriptError {
    /// It is TypeScript of which something cannot be taken out without changing what the script does.
    #[error("{what} cannot be taken out of the source: it is more than a type")]
    MoreThanTypes {
        /// What it is.
        what: MoreThanType,
        /// Where it begins, in bytes from the start of the source.
        offset: usize,
    },
    /// It is no TypeScript either.
    #[error("{message}")]
    Syntax {
        /// What the parser says.
        message: String,
        /// Where, in bytes from the start of the source.
        offset: usize,
    },
    /// It could not be read to the end: it is too long, too deeply nested or takes too long.
    #[error("the source could not be read as TypeScript: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// What of TypeScript does something when the script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoreThanType {
    /// `enum E { A }`
    Enum,
    /// `namespace N {}`
    Namespace,
    /// `import a = require('b')`
    ImportEquals,
    /// `export = a`
    ExportEquals,
    /// `constructor(private a: T)`
    ParameterProperty,
    /// `@a class B {}`, of JavaScript to come.
    Decorator,
    /// `<T>value` where it could not be left out without a change of meaning.
    Assertion,
}

impl MoreThanType {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Enum,
        Self::Namespace,
        Self::ImportEquals,
        Self::ExportEquals,
        Self::ParameterProperty,
        Self::Decorator,
        Self::Assertion,
    ];

    /// What to write instead.
    pub fn instead(self) -> &'static str {
        match self {
            Self::Enum => "write an object, such as const Color = { Red: 0, Green: 1 }",
            Self::Namespace => "write an object",
            Self::ImportEquals => "write import NAME from MODULE",
            Self::ExportEquals => "write export default",
            Self::ParameterProperty => {
                "declare the field in the class and assign it in the constructor"
            }
            Self::Decorator => "call the decorating function yourself",
            Self::Assertion => "write value as T",
        }
    }
}

impl fmt::Display for MoreThanType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enum => "a TypeScript enum",
            Self::Namespace => "a TypeScript namespace",
            Self::ImportEquals => "TypeScript's import =",
            Self::ExportEquals => "TypeScript's export =",
            Self::ParameterProperty => "a TypeScript parameter property",
            Self::Decorator => "a decorator",
            Self::Assertion => "a TypeScript assertion <T>value in this place",
        })
    }
}
