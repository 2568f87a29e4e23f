//! What the plan asks for and this version does not do: a run must not pass it over.

use crate::finding::{Code, Finding};
use crate::plan::{Plan, Transfer, VerifyMode};

pub(super) fn for_plan(plan: &Plan) -> Vec<Finding> {
    [stream(plan), checksum(plan)]
        .into_iter()
        .flatten()
        .collect()
}

fn stream(plan: &Plan) -> Option<Finding> {
    let mut transfers = plan.overrides.iter().map(|entry| entry.transfer);
    transfers
        .any(|transfer| transfer == Some(Transfer::Stream))
        .then(|| {
            Finding::new(
                Code::PlanNotAvailable,
                "transfer = \"stream\" is not available in this version",
            )
            .fix("remove it: archives are the default")
        })
}

fn checksum(plan: &Plan) -> Option<Finding> {
    (plan.verify == VerifyMode::Checksum).then(|| {
        Finding::new(
            Code::PlanNotAvailable,
            "verify.mode = \"checksum\" is not available in this version",
        )
        .fix("set verify.mode = \"exact\"")
    })
}
