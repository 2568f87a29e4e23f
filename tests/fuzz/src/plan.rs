//! The plan file.

use std::path::Path;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use pg_migrate::fuzzing::plan::{self, Plan, PlanError};

/// A password for the corpus: where a plan holds it as a literal, no message shows it.
const PASSWORD: &str = "hunter2";

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(text) {
        Ok(plan) => means_the_same_written_again(text, &plan),
        Err(error) => says_what_is_wrong(text, &error),
    }
}

fn parse(text: &str) -> Result<Plan, PlanError> {
    plan::parse(text, Path::new("/plans/plan.toml"))
}

/// The layout of the file, its comments and its ways to write a string mean nothing.
fn means_the_same_written_again(text: &str, plan: &Plan) {
    let table: toml::Table = toml::from_str(text).expect("a plan is TOML");
    let again = toml::to_string(&table).expect("TOML can be written");
    let parsed = parse(&again).unwrap_or_else(|error| panic!("{error:?}\n{again}"));
    assert_eq!(format!("{parsed:#?}"), format!("{plan:#?}"), "{again}");
}

fn says_what_is_wrong(text: &str, error: &PlanError) {
    for problem in error.problems() {
        for label in problem.labels().into_iter().flatten() {
            let (start, end) = (label.offset(), label.offset() + label.len());
            assert!(text.get(start..end).is_some(), "{problem}: {start}..{end}");
        }
    }
    let theme = GraphicalTheme::unicode_nocolor();
    let mut shown = String::new();
    GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .render_report(&mut shown, error)
        .expect("an error can be shown");
    super::assert_shows_what_it_is(&shown);
    assert!(!is_a_password(text) || !shown.contains(PASSWORD), "{shown}");
    assert!(
        !is_a_password(text) || !format!("{error:?}").contains(PASSWORD),
        "{error:?}"
    );
}

/// Whether the only place of the password is the value of a server's `password`.
fn is_a_password(text: &str) -> bool {
    let Ok(table) = toml::from_str::<toml::Table>(text) else {
        return false;
    };
    text.matches(PASSWORD).count() == 1
        && ["source", "target"].iter().any(|server| {
            let password = table.get(*server).and_then(|server| server.get("password"));
            password.is_some_and(|password| {
                password
                    .as_str()
                    .is_some_and(|text| text.contains(PASSWORD))
            })
        })
}
