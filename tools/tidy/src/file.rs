// SPDX-License-Identifier: Apache-2.0
//! A file of the source tree, and what can be wrong with it.

use std::fmt;

/// One file of the source tree.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path from the root of the workspace, with `/` between its parts.
    pub path: String,
    /// The whole content.
    pub text: String,
}

impl SourceFile {
    /// A file of this path and content.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// The part of the path after the last `/`.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub(crate) fn violation(&self, line: usize, message: impl Into<String>) -> Violation {
        Violation {
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }
}

/// A rule that a file breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The file's path from the root of the workspace.
    pub path: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

#[cfg(test)]
pub(crate) fn messages(found: &[Violation]) -> Vec<String> {
    found.iter().map(Violation::to_string).collect()
}
