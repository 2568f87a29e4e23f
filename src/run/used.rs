//! Databases that were verified, and that the run is to drop: whether clients wrote to them.

use super::presence::is_missing;
use super::resume::Resume;
use crate::catalog::ServerFacts;
use crate::graph::Graph;
use crate::journal::State;
use crate::names::{Kind, Since};
use crate::plan::Endpoint;
use crate::postgres::{Application, Session, escape_control};
use crate::step::used::{written_since, written_words};

/// Why some of the databases cannot be dropped, a line each. What cannot be looked at counts as written to.
pub(super) async fn in_use(
    graph: &Graph,
    state: &State,
    (target, facts): (&Endpoint, &ServerFacts),
    application: &Application,
    resumed: &Resume,
) -> Vec<String> {
    let mut refused = Vec::new();
    let done = |index| resumed.done.contains(&index);
    for (index, step) in graph.steps.iter_with_positions() {
        let Some(database) = step.id.database_name() else {
            continue;
        };
        let verified = state.verified.get(&**database);
        let Some(verified) = verified.filter(|_| step.id.kind == Kind::Create && !done(index))
        else {
            continue;
        };
        // Before it is dropped it is looked at in any case, and a run that was killed lets nobody in.
        if state.shut.contains(&**database) {
            continue;
        }
        // Another of its name is not dropped.
        if is_missing(database, state, facts) {
            continue;
        }
        let session = Session::new(&application.application_name_for(&format!("{database}/used")));
        let shown = escape_control(database);
        match written_since(target, database, &session, application, verified.as_ref()).await {
            Ok(Since::Unwritten) => {}
            Ok(since) => refused.push(written_words(&shown, since)),
            Err(error) => refused.push(format!(
                "the database \"{shown}\" is not dropped: nobody could look whether it was written to since it was verified: \
                 {error}"
            )),
        }
    }
    refused
}
