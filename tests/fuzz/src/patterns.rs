//! Patterns over names: of databases (`[databases]`, `[[override]]`) and of delayed tables (`[delay]`).

use std::path::Path;

use pg_migrate::fuzzing::plan::{self, Plan};

/// Lines: a pattern, and two names that it is tried on.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let pattern = lines.next().unwrap_or_default();
    let names: Vec<&str> = lines.filter(|name| !name.trim().is_empty()).collect();
    if let [database, table] = names[..] {
        names_match_themselves(database, table);
    }
    // Whatever else is in the plan, this pattern is refused or taken.
    let quoted = toml(pattern);
    if let Some(plan) = parse(&format!(
        "databases.include = [{quoted}]\noverride = [{{ databases = [{quoted}], dump_jobs = 9 }}]"
    )) {
        for name in &names {
            let takes = plan.databases.takes(name);
            assert_eq!(
                takes,
                plan.options(name).dump_jobs == 9,
                "{pattern:?} on {name:?}"
            );
        }
    }
    if let Some(plan) = parse(&format!("delay.table_data = [{quoted}]")) {
        let delay = &plan.delay.patterns[0];
        assert_eq!(delay.text, pattern);
        for name in &names {
            let matches = delay.matches(name, name, name);
            assert!(delay.schema.is_some() || matches == delay.matches(name, "", name));
        }
    }
}

/// A name with every special character taken by its letter matches that name and no longer one.
fn names_match_themselves(database: &str, table: &str) {
    let dotless = |name: &str| literal(name).replace('.', "?");
    let (delayed, of_any_schema) = (
        format!("{}.public.{}", dotless(database), dotless(table)),
        format!("{}.{}", dotless(database), dotless(table)),
    );
    let text = format!(
        "databases.include = [{}]\ndelay.table_data = [{}, {}]",
        toml(&literal(database)),
        toml(&delayed),
        toml(&of_any_schema)
    );
    let plan = parse(&text).expect(&text);
    assert!(plan.databases.takes(database), "{text}");
    assert!(!plan.databases.takes(&format!("{database}x")), "{text}");
    let [delayed, of_any_schema] = &plan.delay.patterns[..] else {
        panic!("{text}");
    };
    assert!(delayed.matches(database, "public", table), "{text}");
    assert!(!delayed.matches(database, "other", table), "{text}");
    assert!(of_any_schema.matches(database, "other", table), "{text}");
}

/// As the help of a pattern that cannot be read says it.
fn literal(name: &str) -> String {
    let mut literal = String::new();
    for c in name.chars() {
        match c {
            '*' | '?' | '[' | '{' | '}' => literal.extend(['[', c, ']']),
            '\\' => literal.push_str(r"\\"),
            _ => literal.push(c),
        }
    }
    literal
}

fn toml(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `None`: the pattern is refused.
fn parse(line: &str) -> Option<Plan> {
    let text = format!("source.host = \"old\"\ntarget.host = \"new\"\n{line}\n");
    plan::parse(&text, Path::new("/plans/plan.toml")).ok()
}
