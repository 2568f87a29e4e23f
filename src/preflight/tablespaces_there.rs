//! Tablespaces that are on the target, and that are not as the source has them.

use crate::catalog::{Inspection, ServerFacts, Tablespace, TablespacePrivilege};
use crate::finding::{Code, Finding};
use crate::plan::Plan;

/// `is_ours`: whether this plan made the tablespace of this name, or set it to the end before; `None`: it never began to.
pub(crate) fn for_tablespaces_there(
    plan: &Plan,
    inspection: &Inspection,
    is_ours: impl Fn(&str) -> Option<bool>,
) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    if !plan.globals {
        return Vec::new();
    }
    let there = target.tablespace_facts.iter();
    let there = there.filter(|(name, _)| !plan.tablespaces.chooses(name));
    there
        .filter_map(|(name, there)| {
            let facts = source.tablespace_facts.get(name)?;
            finding((name, is_ours(name)), facts, there, target)
        })
        .collect()
}

fn finding(
    (name, is_ours): (&str, Option<bool>),
    source: &Tablespace,
    there: &Tablespace,
    target: &ServerFacts,
) -> Option<Finding> {
    let (mut set, mut left) = (Vec::new(), Vec::new());
    if source.owner != there.owner {
        left.push(format!(
            "its owner \"{}\" (\"{}\" on the source)",
            there.owner, source.owner
        ));
    }
    for (option, value) in &source.options {
        match there.options.get(option) {
            Some(same) if same == value => {}
            Some(other) => set.push(format!("{option} = {value} (there {other})")),
            None => set.push(format!("{option} = {value} (there not set)")),
        }
    }
    let only_there = there.options.keys();
    let only_there = only_there.filter(|option| !source.options.contains_key(*option));
    left.extend(only_there.map(|option| format!("a setting {option}")));
    let grants = |one: &Tablespace, other: &Tablespace| -> Vec<String> {
        let owners = [&one.owner, &other.owner];
        let is_told = |one: &&TablespacePrivilege| {
            let grantee = one.grantee.as_ref();
            grantee.is_none_or(|role| !owners.contains(&role) && *role != target.user)
        };
        let privileges = one.privileges.difference(&other.privileges);
        privileges.filter(is_told).map(in_words).collect()
    };
    set.extend(grants(source, there));
    left.extend(grants(there, source));
    match (&source.comment, &there.comment) {
        (Some(here), there) if there.as_ref() != Some(here) => set.push("its comment".to_owned()),
        (None, Some(_)) => left.push("a comment".to_owned()),
        _ => {}
    }
    if !target.is_superuser || is_ours == Some(true) {
        // The server denies it to others than owners, and the run says so. What this plan set before, it sets again without a word.
        set.clear();
    }
    if set.is_empty() && left.is_empty() {
        return None;
    }
    let what = match is_ours {
        Some(true) => "this plan made or set it, and it is not as on the source",
        Some(false) => {
            "a run of this plan that did not end may have made or set it, and it is not as on the source"
        }
        None => {
            "it was on the target before this plan, which did not make it, and is not as on the source"
        }
    };
    let mut parts = vec![what.to_owned()];
    if !set.is_empty() {
        parts.push(format!("the run sets the source's: {}", set.join(", ")));
    }
    if !left.is_empty() {
        parts.push(format!(
            "what the target has is left as it is: {}",
            left.join(", ")
        ));
    }
    Some(
        Finding::new(Code::TargetTablespaceDiffers, parts.join("; "))
            .object(format!("TABLESPACE {name}"))
            .fix(
                "where the target's is right, ALTER TABLESPACE … on the source before the run or on the target after it; or say another \
                 one in the plan ([tablespaces])",
            ),
    )
}

fn in_words(privilege: &TablespacePrivilege) -> String {
    let grantee = match &privilege.grantee {
        Some(role) => format!("the role \"{role}\""),
        None => "PUBLIC".to_owned(),
    };
    let option = if privilege.is_grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    format!("CREATE for {grantee}{option}")
}
