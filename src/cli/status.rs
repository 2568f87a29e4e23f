//! `pg-migrate status`.

use super::arguments::{StatusArguments, StatusFormat};
use super::failure::Failure;
use super::output::{Terminal, print};
use super::prepare::load;
use crate::exit::Exit;
use crate::journal::{self, Lock, stored};
use crate::report::status;

pub(super) fn run(arguments: StatusArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    // It may end while the journal is read, and then the journal says so.
    let is_under_way = Lock::is_held(&plan.state_dir);
    let state = journal::read(&plan.state_dir)?;
    let stored = stored::read(&plan.state_dir)?;
    let (Some(state), Some(stored)) = (state, stored) else {
        print(&match arguments.format {
            StatusFormat::Text => format!("{}: not run yet\n", plan.name),
            StatusFormat::Json => status::json(&status::status(
                &plan.name,
                &[],
                &Default::default(),
                false,
                jiff::Timestamp::now(),
            )),
        })?;
        return Ok(Exit::Completed);
    };
    let status = status::status(
        &plan.name,
        &stored.steps,
        &state,
        is_under_way,
        jiff::Timestamp::now(),
    );
    print(&match arguments.format {
        StatusFormat::Text => status::text(&status, terminal.columns(), terminal.stdout_color()),
        StatusFormat::Json => status::json(&status),
    })?;
    Ok(Exit::Completed)
}
