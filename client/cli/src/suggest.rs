// SPDX-License-Identifier: Apache-2.0
//! The word that somebody probably meant.

/// Longer words, in characters, are not compared: nobody mistypes those.
const MAX_WORD: usize = 64;

/// The known word that is nearest to `word`, if one is near enough to be meant: a third of its
/// letters may be mistyped, at least one.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > MAX_WORD {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_is_suggested() {
        assert_eq!(did_you_mean("nmae", ["name", "kind"]), Some("name"));
        assert_eq!(did_you_mean("quux", ["name", "kind"]), None);
        assert_eq!(did_you_mean(&"n".repeat(MAX_WORD + 1), ["name"]), None);
    }
}
