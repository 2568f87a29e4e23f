//! Roles of the source that become members of a role that was on the target before.

use crate::catalog::{Inspection, Role};
use crate::finding::{Code, Finding, Severity};
use crate::names::some_of;

/// Attributes by which a role may do what was never granted to it.
const RIGHTS: [&str; 4] = ["SUPERUSER", "CREATEROLE", "REPLICATION", "BYPASSRLS"];

/// Members that are named.
const NAMED: usize = 10;

/// `is_ours`: whether this plan made the target's role, or set it before. `differing`: what is found of roles that are set.
pub(super) fn for_groups(
    inspection: &Inspection,
    is_ours: impl Fn(&Role) -> bool,
    differing: &[Finding],
) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    if !target.is_superuser && !target.can_create_role {
        return Vec::new();
    }
    let blocks = |role: &str| {
        let object = format!("ROLE {role}");
        let mut differing = differing.iter().filter(|it| it.severity == Severity::Block);
        differing.any(|finding| finding.object.as_ref() == Some(&object))
    };
    let there = target.roles.iter();
    let groups = there.filter(|group| !group.name.starts_with("pg_") && !is_ours(group));
    groups
        .filter_map(|group| {
            let of_source = source.role(&group.name)?;
            let joins = |member: &&Role| {
                let there = target.role(&member.name);
                let is_member = there.is_some_and(|it| it.member_of.contains_key(&group.name));
                member.member_of.contains_key(&group.name)
                    && !is_member
                    && !target.keeps_role(&member.name)
            };
            let mut members: Vec<&Role> = source.roles.iter().filter(joins).collect();
            let is_on = |role: &Role, name: &str| role.attributes.get(name) == Some(&true);
            let is_set = !target.keeps_role(&group.name) && target.may_set_role(group);
            // What the run takes from it is found as its difference.
            let stays = |name: &&str| !(is_set && target.may_set_attribute(name));
            let more = RIGHTS.into_iter().filter(stays);
            let more = more.filter(|name| is_on(group, name) && !is_on(of_source, name));
            let more: Vec<&str> = more.collect();
            if more.is_empty() {
                members.retain(|member| !blocks(&member.name));
            }
            if members.is_empty() || more.is_empty() && blocks(&group.name) {
                return None;
            }
            let names: Vec<String> = members
                .iter()
                .map(|member| format!("\"{}\"", member.name))
                .collect();
            Some(finding(group, &names, &more))
        })
        .collect()
}

fn finding(group: &Role, members: &[String], more: &[&str]) -> Finding {
    let mut message = format!(
        "the role \"{}\" was on the target before this plan, which did not make it, and the run makes roles of the source members \
         of it, as they are on the source: {}",
        group.name,
        some_of(members, NAMED)
    );
    if !more.is_empty() {
        message += &format!(
            "; on the target it is {}, which it is not on the source, and members may become it (SET ROLE)",
            more.join(", ")
        );
    }
    if group.has_objects {
        message +=
            "; objects of the target belong to it or are granted to it, and members get to them";
    }
    let severity = if more.is_empty() {
        Severity::Warn
    } else {
        Severity::Block
    };
    Finding::new(Code::TargetRoleGetsMembers, message)
        .severity(severity)
        .object(format!("ROLE {}", group.name))
        .fix(
            "find out whose it is: where it is another application's, ALTER ROLE … RENAME TO … on either server; where it is the same, \
             waive this for it; globals.migrate = false leaves all roles of the target as they are",
        )
}
