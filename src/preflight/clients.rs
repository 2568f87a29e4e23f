//! The client programs on this machine, and where they write.

use std::path::Path;

use super::words::rounded;
use crate::catalog::{ClientFacts, Inspection};
use crate::finding::{Code, Finding, Severity};
use crate::plan::{Compression, Plan, Side, SslMode};

pub(super) fn for_clients(plan: &Plan, inspection: &Inspection) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(too_old(inspection));
    found.extend(no_tls(plan, &inspection.client));
    found
}

fn too_old(inspection: &Inspection) -> Option<Finding> {
    let Inspection {
        source,
        target,
        client,
        ..
    } = inspection;
    let newest = source.version.max(target.version);
    (client.version.major() < newest.major()).then(|| {
        let message = format!(
            "the client programs are of version {}, older than the newest server ({newest}): pg_dump refuses servers \
             that are newer than itself",
            client.version
        );
        Finding::new(Code::ClientTooOld, message).fix(format!(
            "install the client programs of PostgreSQL {} or later and put them first on PATH",
            newest.major_text()
        ))
    })
}

fn no_tls(plan: &Plan, client: &ClientFacts) -> Vec<Finding> {
    if client.tls {
        return Vec::new();
    }
    let needs_tls = |side: &Side| {
        matches!(
            plan.server(*side).sslmode,
            Some(SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull)
        )
    };
    let sides = [Side::Source, Side::Target].into_iter();
    sides
        .filter(needs_tls)
        .map(|side| {
            let message =
                format!("the plan asks for TLS to the {side}, but pg_dump was built without it");
            Finding::new(Code::ClientNoTls, message).fix(
                "install client programs that were built with OpenSSL and put them first on PATH",
            )
        })
        .collect()
}

/// Where pg_dump will not use the compression that is wanted, but another. `is_explicit`: the plan names it.
pub(crate) fn for_compression(
    wanted: &Compression,
    is_explicit: bool,
    used: &Compression,
    client: &ClientFacts,
) -> Option<Finding> {
    if wanted == used || *wanted == Compression::Auto {
        return None;
    }
    let message = format!(
        "this pg_dump ({}) was built without {wanted}",
        client.version
    );
    Some(if is_explicit {
        Finding::new(Code::ClientCompression, message).fix(format!(
            "set compression = \"{used}\" or \"auto\", or install a pg_dump that has it"
        ))
    } else {
        let message = format!("{message}, the default; {used} is used instead");
        Finding::new(Code::ClientCompression, message)
            .severity(Severity::Info)
            .fix(format!(
                "set dump.compression = \"{used}\" to say so in the plan"
            ))
    })
}

/// Where the archives of databases may not fit. `bytes`: what the databases that are still to be dumped take on the source;
/// `free`: what is free where the archives go, which is mounted there.
pub(crate) fn for_dump_space(
    root: &Path,
    mounted_at: &Path,
    free: u64,
    bytes: u64,
) -> Option<Finding> {
    (free < bytes).then(|| {
        let message = format!(
            "the databases that are to be dumped take up to {}, indexes included and before compression, and where archives go \
             (dump.root, {}) about {} are free in {}",
            rounded(bytes),
            root.display(),
            rounded(free),
            mounted_at.display()
        );
        Finding::new(Code::ClientDumpSpace, message).fix(
            "make room there, or set dump.root to a larger file system; a dump for which there is no room fails, and the next \
             run goes on with it",
        )
    })
}

/// Where archives cannot be written: why, as the operating system says it.
pub(crate) fn for_dump_root(root: &Path, problem: &str) -> Finding {
    let message = format!(
        "archives cannot be written below dump.root ({}): {problem}",
        root.display()
    );
    Finding::new(Code::ClientDumpRoot, message)
        .fix("set dump.root to a directory that this user may write to")
}
