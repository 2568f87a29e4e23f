//! `pg-migrate explain`: what a finding means, and how things work.

use super::color::{Color, Tone};
use super::width::{left, wrap};
use crate::explain::Topic;
use crate::finding::{Code, Place, Severity};

/// Columns before the texts about a code.
const LABEL: usize = 10;

/// Every code by its group, and every topic, a line each.
pub(crate) fn list(columns: usize, color: Color) -> String {
    let mut out = String::from("Findings: pg-migrate explain CODE\n");
    for group in Code::ALL.chunk_by(|one, next| one.group() == next.group()) {
        let longest = group.iter().map(|code| code.as_str().len()).max();
        let indent = longest.unwrap_or(0) + 2;
        out.push('\n');
        for code in group {
            let severity = code.severity();
            let word = color.paint(tone(severity), severity.as_str());
            // The colour takes no columns.
            let blanks = 6 - severity.as_str().len();
            out.push_str(&format!(
                "  {}{word}{:blanks$}{}\n",
                left(code.as_str(), indent),
                "",
                code.what()
            ));
        }
    }
    out.push_str("\nTopics: pg-migrate explain TOPIC\n\n");
    let longest = Topic::ALL.map(|topic| topic.as_str().len());
    let indent = longest.into_iter().max().unwrap_or(0) + 4;
    for topic in Topic::ALL {
        let first = left(&format!("  {}", topic.as_str()), indent);
        wrap(&mut out, &first, topic.title(), columns);
    }
    out
}

/// What a finding with this code means, what fixes it, and how to accept it.
pub(crate) fn code(code: Code, columns: usize, color: Color) -> String {
    let title = color.paint(Tone::Heading, code.as_str());
    let mut out = format!("{title}\n\n");
    let severity = code.severity();
    let usually = format!("usually {}: {}", severity.as_str(), meaning(severity));
    for (label, text) in [
        ("what", code.what()),
        ("severity", &usually),
        ("why", code.why()),
        ("fix", code.fix()),
        ("since", &format!("pg-migrate {}", code.since())),
    ] {
        wrap(&mut out, &left(label, LABEL), text, columns);
    }
    out.push('\n');
    if !code.can_be_waived() {
        wrap(&mut out, "", "It cannot be waived.", columns);
        return out;
    }
    let object = match code.place() {
        Place::Migration => "it is about the migration as a whole, so `object` is `*`".to_owned(),
        Place::Timeline => format!("`object` is {}", Place::Timeline.subject()),
        place => format!(
            "`object` is a glob that is compared with {}",
            place.subject()
        ),
    };
    let how = format!("To accept it until a day, with the reason, in the plan; {object}:");
    wrap(&mut out, "", &how, columns);
    out.push_str(&format!("\n{}", waiver(code)));
    out
}

/// An entry of a plan that waives the code.
fn waiver(code: Code) -> String {
    format!(
        "    [[waive]]\n    code = \"{code}\"\n    object = \"{}\"\n    until = 2027-01-31\n    reason = \"…\"\n",
        code.place().example()
    )
}

pub(crate) fn topic(topic: Topic, columns: usize, color: Color) -> String {
    let title = color.paint(Tone::Heading, topic.title());
    let mut out = format!("{title}\n\n");
    for (position, block) in topic.text().split("\n\n").enumerate() {
        if position > 0 {
            out.push('\n');
        }
        for part in parts(block) {
            match part {
                Part::Text(text) => wrap(&mut out, "", &text, columns),
                Part::Item(text) => wrap(&mut out, "- ", &text, columns),
                Part::AsItIs(line) => out.push_str(&format!("{line}\n")),
            }
        }
    }
    out
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(String),
    Item(String),
    AsItIs(&'a str),
}

/// Lines of a block of text as what they are together: the file breaks lines at a width of its own.
fn parts(block: &str) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for line in block.lines() {
        if line.starts_with("    ") {
            parts.push(Part::AsItIs(line));
        } else if let Some(item) = line.strip_prefix("- ") {
            parts.push(Part::Item(item.to_owned()));
        } else if let Some(Part::Text(text) | Part::Item(text)) = parts.last_mut() {
            text.push(' ');
            text.push_str(line.trim());
        } else {
            parts.push(Part::Text(line.to_owned()));
        }
    }
    parts
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Block | Severity::Fix => Tone::Bad,
        Severity::Warn => Tone::Attention,
        Severity::Info => Tone::Plain,
    }
}

fn meaning(severity: Severity) -> &'static str {
    match severity {
        Severity::Block => "the run does not start",
        Severity::Fix => "something will be lost or different unless it is fixed",
        Severity::Warn => "to be known before the run",
        Severity::Info => "for information",
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::width::width;
    use super::*;

    #[test]
    fn a_code_is_explained_like_this() {
        assert_snapshot!(code(Code::SourceWithOids, 72, Color::Off), @r#"
        source/with-oids

        what      a table WITH OIDS loses its oids
        severity  usually block: the run does not start
        why       pg_dump 12 and later leave the oids of such tables out without
                  a message, so they would be lost.
        fix       ALTER TABLE … SET WITHOUT OIDS on the source, or accept the
                  loss by a waiver.
        since     pg-migrate 0.1.0

        To accept it until a day, with the reason, in the plan; `object` is a
        glob that is compared with DATABASE.SCHEMA.OBJECT:

            [[waive]]
            code = "source/with-oids"
            object = "erp.public.*"
            until = 2027-01-31
            reason = "…"
        "#);
        assert_snapshot!(code(Code::TargetStandby, 72, Color::Off), @r#"
        target/standby

        what      the target is a standby
        severity  usually block: the run does not start
        why       Nothing can be written to a standby.
        fix       Use its primary as the target.
        since     pg-migrate 0.1.0

        To accept it until a day, with the reason, in the plan; it is about the
        migration as a whole, so `object` is `*`:

            [[waive]]
            code = "target/standby"
            object = "*"
            until = 2027-01-31
            reason = "…"
        "#);
        assert_snapshot!(code(Code::PlanWaiverExpired, 72, Color::Off), @"
        plan/waiver-expired

        what      a waiver has expired
        severity  usually warn: to be known before the run
        why       After its last day a waiver has no effect: the findings that
                  it names have their usual severity again.
        fix       Fix what was waived and remove the [[waive]] entry, or look at
                  its reason again and set a later day.
        since     pg-migrate 0.2.0

        It cannot be waived.
        ");
    }

    #[test]
    fn a_waiver_is_one_that_a_plan_takes() {
        for code in Code::ALL.iter().filter(|code| code.can_be_waived()) {
            let plan = format!(
                "[source]\nhost = \"a\"\n[target]\nhost = \"b\"\n{}",
                waiver(*code)
            );
            let plan = crate::plan::parse(&plan, std::path::Path::new("/p.toml")).unwrap();
            assert_eq!(plan.waive[0].code, *code);
        }
    }

    #[test]
    fn the_list_has_a_line_for_each() {
        let list = list(80, Color::Off);
        let mut topics = list.lines().skip_while(|line| !line.starts_with("Topics"));
        assert_eq!(topics.by_ref().skip(2).count(), Topic::ALL.len());
        let head: Vec<&str> = list.lines().take(12).collect();
        assert_snapshot!(head.join("\n"), @"
        Findings: pg-migrate explain CODE

          client/compression  block pg_dump lacks the plan's compression
          client/dump-root    block archives cannot be written
          client/dump-space   warn  the archives may not fit
          client/known-hole   warn  the client programs have known holes
          client/no-tls       block the client programs lack TLS
          client/too-old      block the client programs are too old

          delay/computed-early     warn  a delayed table is read while empty
          delay/foreign-key-cycle  block delayed tables refer to each other
          delay/index-builds       warn  clients wait for index builds
        ");
        for code in Code::ALL {
            let word = format!("  {code} ");
            let lines = list.lines().filter(|line| line.starts_with(&word));
            assert_eq!(lines.count(), 1, "{code}");
        }
    }

    #[test]
    fn lines_fit_the_terminal() {
        for columns in [60, 80, 140] {
            let codes = Code::ALL.iter().map(|one| code(*one, columns, Color::Off));
            let topics = Topic::ALL.map(|one| topic(one, columns, Color::Off));
            let all = codes.chain(topics);
            let lists = (columns >= 80).then(|| list(columns, Color::Off));
            for text in all.chain(lists) {
                for line in text.lines().filter(|line| !line.starts_with("    ")) {
                    assert!(width(line) <= columns, "{columns}: {line}");
                }
            }
        }
    }

    #[test]
    fn colours_only_where_they_may_be() {
        let colorful = list(80, Color::On);
        assert!(colorful.contains("\x1b[31mblock\x1b[0m"));
        let plain = colorful.replace("\x1b[31m", "").replace("\x1b[33m", "");
        assert_eq!(plain.replace("\x1b[0m", ""), list(80, Color::Off));
    }

    #[test]
    fn paragraphs_items_and_what_stays_as_it_is_are_told_apart() {
        assert_eq!(
            parts("a line\nand more\n- an item\n  of two lines\n- another\n    as it  is"),
            [
                Part::Text("a line and more".to_owned()),
                Part::Item("an item of two lines".to_owned()),
                Part::Item("another".to_owned()),
                Part::AsItIs("    as it  is"),
            ]
        );
    }
}
