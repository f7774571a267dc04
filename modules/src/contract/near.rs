//! "Did you mean …?": the known word that is nearest to one that isn't.

/// " (did you mean …?)" where one of `known` is near `word`, or nothing.
#[must_use]
pub fn hint(word: &str, known: &[&str]) -> String {
    near(word, known).map_or_else(String::new, |best| format!(" (did you mean {best:?}?)"))
}

/// The one of `known` that `word` was most likely meant to be.
#[must_use]
pub fn near<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let score = |name: &str| strsim::jaro_winkler(&word, &name.to_lowercase());
    let best = known
        .iter()
        .copied()
        .max_by(|a, b| score(a).total_cmp(&score(b)))?;
    let slip = word.len() > 2 && strsim::damerau_levenshtein(&word, &best.to_lowercase()) == 1;
    (score(best) > 0.8 || slip).then_some(best)
}
