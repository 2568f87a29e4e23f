//! What `pg-migrate explain` can tell about: the codes of findings, and topics that are too long for a README.
//!
//! To add a topic, add a variant, and its text to `topics/`: a title in the first line, then paragraphs, items that begin
//! with `- `, and indented lines that stay as they are.

use crate::finding::Code;
use crate::spelling::did_you_mean;

/// One of the texts in `topics/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Steps,
    Delay,
    Tuning,
    Resume,
    Archives,
    Parallelism,
    Night,
    Security,
}

impl Topic {
    pub(crate) const ALL: [Topic; 8] = [
        Topic::Steps,
        Topic::Delay,
        Topic::Tuning,
        Topic::Resume,
        Topic::Archives,
        Topic::Parallelism,
        Topic::Night,
        Topic::Security,
    ];

    /// The word that asks for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Topic::Steps => "steps",
            Topic::Delay => "delay",
            Topic::Tuning => "tuning",
            Topic::Resume => "resume",
            Topic::Archives => "archives",
            Topic::Parallelism => "parallelism",
            Topic::Night => "night",
            Topic::Security => "security",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Topic::Steps => include_str!("topics/steps.txt"),
            Topic::Delay => include_str!("topics/delay.txt"),
            Topic::Tuning => include_str!("topics/tuning.txt"),
            Topic::Resume => include_str!("topics/resume.txt"),
            Topic::Archives => include_str!("topics/archives.txt"),
            Topic::Parallelism => include_str!("topics/parallelism.txt"),
            Topic::Night => include_str!("topics/night.txt"),
            Topic::Security => include_str!("topics/security.txt"),
        }
    }

    pub(crate) fn title(self) -> &'static str {
        self.file().lines().next().unwrap_or_default()
    }

    /// What follows the title.
    pub(crate) fn text(self) -> &'static str {
        self.file().split_once("\n\n").map_or("", |(_, text)| text)
    }
}

/// What a word asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Code(Code),
    Topic(Topic),
}

/// Every word that asks for something, topics first.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    let topics = Topic::ALL.into_iter().map(Topic::as_str);
    topics.chain(Code::ALL.iter().map(|code| code.as_str()))
}

/// # Errors
///
/// Nothing is called so; the word that was probably meant, if any is near.
pub(crate) fn find(word: &str) -> Result<Subject, Option<&'static str>> {
    if let Ok(code) = word.parse() {
        return Ok(Subject::Code(code));
    }
    let mut topics = Topic::ALL.into_iter();
    topics
        .find(|topic| topic.as_str() == word)
        .map(Subject::Topic)
        .ok_or_else(|| did_you_mean(word, words()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Kind;

    #[test]
    fn every_word_is_found_and_others_are_near_one_or_not() {
        for word in words() {
            assert!(find(word).is_ok(), "{word}");
        }
        assert_eq!(find("tuning"), Ok(Subject::Topic(Topic::Tuning)));
        let code = Subject::Code(Code::TargetTuning);
        assert_eq!(find("target/tuning"), Ok(code));
        assert_eq!(find("tunning"), Err(Some("tuning")));
        assert_eq!(find("target/tunning"), Err(Some("target/tuning")));
        assert_eq!(find("weather"), Err(None));
        assert_eq!(find(""), Err(None));
    }

    #[test]
    fn every_topic_is_a_title_and_a_text() {
        for topic in Topic::ALL {
            // A line of the list in a terminal of 80 columns.
            assert!((1..=60).contains(&topic.title().len()), "{topic:?}");
            assert!(topic.text().len() > 500, "{topic:?}");
            let is_plain = |c: char| c == '\n' || !c.is_control();
            assert!(topic.file().chars().all(is_plain), "{topic:?}");
        }
    }

    #[test]
    fn every_kind_of_step_is_explained() {
        let text = [Topic::Steps.text(), Topic::Delay.text()].concat();
        for kind in Kind::ALL {
            assert!(
                text.contains(&format!("{kind}:")) || text.contains(&format!("{kind},")),
                "{kind}"
            );
        }
    }

    /// What texts refer the reader to is there: `pg-migrate explain X`, and codes of findings.
    #[test]
    fn what_a_text_points_to_is_there() {
        let texts = Topic::ALL.map(Topic::file).join("\n");
        let texts: Vec<&str> = texts.split_whitespace().collect();
        let plain = |word: &str| {
            word.trim_matches(|c: char| !c.is_ascii_lowercase())
                .to_owned()
        };
        for pair in texts.windows(2) {
            if pair[0] == "explain" {
                assert!(find(&plain(pair[1])).is_ok(), "explain {}", pair[1]);
            }
        }
        let is_code = |word: &&&str| {
            let groups = Code::ALL.iter().map(|code| code.group());
            let mut groups = groups.map(|group| format!("({group}/"));
            groups.any(|group| word.starts_with(&group))
        };
        let codes: Vec<String> = texts
            .iter()
            .filter(is_code)
            .map(|word| plain(word))
            .collect();
        assert!(codes.len() > 3, "{codes:?}");
        for code in codes {
            assert!(code.parse::<Code>().is_ok(), "{code}");
        }
    }
}
