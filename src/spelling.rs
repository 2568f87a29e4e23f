//! What a misspelt word most likely stands for.

/// The nearest of the candidates, or none of them where no one is near. Case, and the difference of `-` and `_`, do not
/// count. Of a word with a slash what follows it may be enough: `with-oids` means `source/with-oids`.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = plain(word);
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(&word, &plain(candidate))?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn plain(text: &str) -> String {
    text.to_lowercase().replace('-', "_")
}

/// `None`: too far.
fn distance(word: &str, candidate: &str) -> Option<usize> {
    let near = |word: &str, candidate: &str| {
        let distance = strsim::damerau_levenshtein(word, candidate);
        (distance <= candidate.len().max(3) / 3).then_some(distance)
    };
    let name = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    near(word, candidate).or_else(|| {
        let (_, after) = candidate.split_once('/')?;
        // After every candidate that is near as a whole.
        Some(candidate.len() + near(&name(word), after)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_or_absent() {
        let keys = ["dump_jobs", "restore_jobs", "max_parallel"];
        assert_eq!(did_you_mean("dump_job", keys), Some("dump_jobs"));
        assert_eq!(did_you_mean("max-parallel", keys), Some("max_parallel"));
        assert_eq!(did_you_mean("Restore-Jobs", keys), Some("restore_jobs"));
        assert_eq!(did_you_mean("colour", keys), None);
    }

    #[test]
    fn what_follows_the_slash_may_be_enough() {
        let codes = [
            "source/standby",
            "source/with-oids",
            "target/standby",
            "target/tuning",
        ];
        for (word, meant) in [
            ("source/with-oid", Some("source/with-oids")),
            ("with oids", Some("source/with-oids")),
            ("target/with-oids", Some("source/with-oids")),
            ("target/stand-by", Some("target/standby")),
            ("tuninng", Some("target/tuning")),
            ("source/", None),
            ("", None),
            ("plan/nothing", None),
        ] {
            assert_eq!(did_you_mean(word, codes), meant, "{word}");
        }
    }
}
