//! What is typed at the prompt: whether it is complete, and what is run for it.

/// How an entry reads so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Inside `(`, `[` or `{`.
    Bracket(char),
    /// Inside a template, outside its substitutions.
    Template,
    /// Inside a substitution `${` of a template.
    Substitution,
}

/// What a scan of an entry found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scan {
    /// A bracket, template or comment is still open.
    open: bool,
    /// There is a `;` outside all brackets that is followed by something other than space.
    several_statements: bool,
    /// There is a line break outside all brackets.
    outermost_newline: bool,
}

/// Words that begin statements and declarations. A function or class at the start of an entry is
/// a declaration, as in a script.
const STATEMENT_WORDS: [&str; 19] = [
    "const", "let", "var", "function", "class", "if", "for", "while", "do", "switch", "try",
    "throw", "return", "break", "continue", "import", "export", "debugger", "with",
];

/// Words after which a `/` begins a regular expression.
const WORDS_BEFORE_EXPRESSIONS: [&str; 13] = [
    "return",
    "typeof",
    "instanceof",
    "in",
    "of",
    "new",
    "delete",
    "void",
    "throw",
    "case",
    "do",
    "else",
    "await",
];

/// Whether `entry` goes on: a bracket, a template or a comment is still open.
pub fn continues(entry: &str) -> bool {
    scan(entry).open
}

/// The source that is run for an entry. A single expression is wrapped so that its value is shown,
/// unless it is `undefined`; everything else runs as it is.
///
/// An entry counts as a single expression when it begins with no word of a statement, with no `{`,
/// and holds no `;` and no line break outside brackets, a last `;` aside. It stays on its lines, so
/// that the lines in errors are those that were typed.
pub fn source(entry: &str) -> String {
    match expression(entry) {
        None => entry.to_owned(),
        // The function comes last and the prefix is short, so that columns in errors are nearly right.
        Some(expression) => format!(
            "$show(await ({expression}\n)); function $show(value) {{ if (value !== undefined) text(value); }}"
        ),
    }
}

fn expression(entry: &str) -> Option<&str> {
    let trimmed = entry.trim();
    let trimmed = trimmed.strip_suffix(';').unwrap_or(trimmed).trim_end();
    let word: &str = trimmed
        .split(|c: char| !is_word(c))
        .next()
        .unwrap_or_default();
    let starts_statement = STATEMENT_WORDS.contains(&word) && !is_import_call(trimmed)
        || trimmed.starts_with('{')
        || trimmed.starts_with("//")
        || trimmed.starts_with("/*")
        || word == "async"
            && trimmed
                .trim_start_matches("async")
                .trim_start()
                .starts_with("function");
    if trimmed.is_empty() || starts_statement {
        return None;
    }
    let scan = scan(trimmed);
    (!scan.open && !scan.several_statements && !scan.outermost_newline).then_some(trimmed)
}

/// `import('tools.js')` and `import.meta` are expressions.
fn is_import_call(text: &str) -> bool {
    let rest = text.strip_prefix("import").map(str::trim_start);
    rest.is_some_and(|rest| rest.starts_with('(') || rest.starts_with('.'))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Goes once over the text. It need not understand more of the language than what keeps brackets
/// apart from text: strings, templates, comments and regular expressions. A wrong guess at a regular
/// expression at worst asks for another line, or runs an entry that the engine then explains.
fn scan(text: &str) -> Scan {
    let mut found = Scan::default();
    let mut frames: Vec<Frame> = Vec::new();
    let mut chars = text.chars().peekable();
    let mut statement_ended = false;
    // Whether an expression may begin here, so that `/` begins a regular expression.
    let mut expression_may_begin = true;
    let mut word = String::new();
    while let Some(c) = chars.next() {
        if frames.last() == Some(&Frame::Template) {
            match c {
                '\\' => {
                    chars.next();
                }
                '`' => {
                    frames.pop();
                    expression_may_begin = false;
                }
                '$' if chars.next_if_eq(&'{').is_some() => {
                    frames.push(Frame::Substitution);
                    expression_may_begin = true;
                }
                _ => {}
            }
            continue;
        }
        if is_word(c) {
            word.push(c);
            found.several_statements |= statement_ended;
            expression_may_begin = false;
            continue;
        }
        if !word.is_empty() {
            expression_may_begin = WORDS_BEFORE_EXPRESSIONS.contains(&word.as_str());
            word.clear();
        }
        if c.is_whitespace() {
            found.outermost_newline |= c == '\n' && frames.is_empty();
            continue;
        }
        if c == '/' && chars.next_if_eq(&'/').is_some() {
            // The line break that ends the comment is looked at as any other.
            while chars.next_if(|c| *c != '\n').is_some() {}
            continue;
        }
        if c == '/' && chars.next_if_eq(&'*').is_some() {
            found.open |= !skip_block_comment(&mut chars);
            continue;
        }
        found.several_statements |= statement_ended;
        match c {
            '\'' | '"' => {
                found.open |= !skip_string(&mut chars, c);
                expression_may_begin = false;
            }
            '`' => frames.push(Frame::Template),
            '/' if expression_may_begin => {
                skip_regular_expression(&mut chars);
                expression_may_begin = false;
            }
            '(' | '[' | '{' => {
                frames.push(Frame::Bracket(c));
                expression_may_begin = true;
            }
            ')' | ']' | '}' => {
                // A closing bracket without its opening one is for the engine to explain.
                frames.pop();
                expression_may_begin = c == '}' && frames.last() != Some(&Frame::Template);
            }
            ';' => {
                statement_ended |= frames.is_empty();
                expression_may_begin = true;
            }
            _ => expression_may_begin = true,
        }
    }
    found.open |= !frames.is_empty();
    found
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Gives `false` when the comment does not end.
fn skip_block_comment(chars: &mut Chars<'_>) -> bool {
    while let Some(c) = chars.next() {
        if c == '*' && chars.next_if_eq(&'/').is_some() {
            return true;
        }
    }
    false
}

/// Gives `false` only when the text ends after a `\` that continues the string on the next line. A
/// string that just does not end is an error, which no further line would repair.
fn skip_string(chars: &mut Chars<'_>, quote: char) -> bool {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        if c == quote {
            return true;
        }
        if c == '\\'
            && chars
                .next()
                .is_none_or(|escaped| escaped == '\n' && chars.peek().is_none())
        {
            return false;
        }
    }
    true
}

fn skip_regular_expression(chars: &mut Chars<'_>) {
    let mut in_class = false;
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\\' => {
                chars.next_if(|c| *c != '\n');
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '/' if !in_class => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn an_entry_goes_on_while_something_is_open() {
        for open in [
            "f(",
            "[1,",
            "{",
            "`a",
            "`a ${",
            "`a ${`b`",
            "/* a",
            "f(/[)]/",
            "x = {a: ')'",
            "'a\\",
            "if (a) {\n b(",
            "return (/(/.test(a)",
        ] {
            assert!(continues(open), "{open}");
        }
    }

    #[test]
    fn an_entry_is_complete_when_everything_is_closed() {
        for complete in [
            "f()",
            "'('",
            "\"(\\\"(\"",
            "`(${f({a: `}`})})`",
            "// (",
            "/* ( */ 1",
            "/[(]\\/(/.test(a)",
            "a / b / (c)",
            "'unterminated",
            ")",
            "",
            "(a) / 2 / (b)",
            "x = 1 // it's",
        ] {
            assert!(!continues(complete), "{complete}");
        }
    }

    #[test]
    fn the_value_of_an_expression_is_shown() {
        for expression_text in [
            "1 + 1",
            "tools.list({a: 1});",
            "await f()",
            "[1, 2].map((n) => { return n; })",
            "`a;b`",
            "new Map()",
            "f(\n1)",
            "letter",
            "import('tools.js')",
            "async () => 1",
        ] {
            assert!(expression(expression_text).is_some(), "{expression_text}");
        }
        assert_eq!(
            source(" 1 + 1; "),
            "$show(await (1 + 1\n)); function $show(value) { if (value !== undefined) text(value); }"
        );
    }

    #[test]
    fn a_comment_at_the_end_of_an_expression_does_not_swallow_its_wrapping() {
        assert!(source("1 // one").contains("await (1 // one\n));"));
    }

    #[test]
    fn statements_run_as_they_are() {
        for statement in [
            "const a = 1",
            "let a",
            "if (a) b()",
            "{a: 1}",
            "a; b",
            "a\nb",
            "function f() {}",
            "async function f() {}",
            "import x from 'tools.js'",
            "for (;;) {}",
            "// only words",
            "",
            "throw new Error('x')",
        ] {
            assert_eq!(source(statement), statement);
        }
    }
}
