// SPDX-License-Identifier: Apache-2.0
//! Variables in configured texts: `${NAME}`, `${NAME:-default}` and, as one client writes it, `${env:NAME}`.

/// A text cannot be had because a variable that it names is missing or badly written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The variable is not set and has no default.
    #[error("the environment variable {0} is not set; set it, or write ${{{0}:-default}}")]
    Unset(String),
    /// `${` without its end, or something between the two that is no name.
    #[error("${{{0} is no variable; write ${{NAME}} or ${{NAME:-default}}")]
    Malformed(String),
}

/// Variables that say who and where one is. They are no credentials, and errors would be hard to read without
/// them: a server of files tells paths.
const OPEN: [&str; 14] = [
    "HOME",
    "LOGNAME",
    "USER",
    "SHELL",
    "TERM",
    "LANG",
    "TZ",
    "PWD",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// A text with its variables filled in, and what was filled in.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// The values of the variables that nobody but the server should see: all but those that say who and
    /// where one is.
    pub values: Vec<String>,
}

/// Fills the variables of `text` in from `lookup`. A variable that is set to nothing counts as unset
/// where there is a default.
///
/// # Errors
/// When a variable is missing or badly written.
pub fn expand(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, ExpandError> {
    let mut expanded = Expanded::default();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        expanded.text.push_str(before);
        let (inner, after) = behind
            .split_once('}')
            .ok_or_else(|| ExpandError::Malformed(behind.to_owned()))?;
        let inner_name = inner.strip_prefix("env:").unwrap_or(inner);
        let (name, default) = match inner_name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner_name, None),
        };
        if !is_name(name) {
            return Err(ExpandError::Malformed(format!("{inner}}}")));
        }
        let value = match (lookup(name), default) {
            (Some(value), _) if !value.is_empty() => {
                if !OPEN.contains(&name) {
                    expanded.values.push(value.clone());
                }
                value
            }
            (_, Some(default)) => default.to_owned(),
            (Some(value), None) => value,
            (None, None) => return Err(ExpandError::Unset(name.to_owned())),
        };
        expanded.text.push_str(&value);
        rest = after;
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && characters.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "KEY" => Some("secret".to_owned()),
            "EMPTY" => Some(String::new()),
            "HOME" => Some("/home/ada".to_owned()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(expand(text, &lookup).unwrap().text, expected);
    }

    #[test]
    fn variables_are_filled_in_and_defaults_stand_for_missing_ones() {
        check("plain $HOME } text", "plain $HOME } text");
        check("Bearer ${KEY}!", "Bearer secret!");
        check("${env:KEY}/${KEY}", "secret/secret");
        check("${MISSING:-a:-b}", "a:-b");
        check("${EMPTY:-default}", "default");
        check("[${EMPTY}]", "[]");
    }

    #[test]
    fn what_was_filled_in_is_told_so_that_it_can_be_kept_secret() {
        let expanded = expand("${KEY} ${MISSING:-open} ${HOME}/x", &lookup).unwrap();
        assert_eq!(expanded.text, "secret open /home/ada/x");
        assert_eq!(expanded.values, ["secret"]);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = expand("${MISSING}", &lookup).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment variable MISSING is not set; set it, or write ${MISSING:-default}"
        );
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        for text in ["${", "${}", "${a b}", "${input:key}", "${1}"] {
            let error = expand(text, &lookup).unwrap_err();
            assert!(matches!(error, ExpandError::Malformed(_)), "{text}");
        }
    }
}
