//! `pg-migrate report`.

use super::arguments::{ReportArguments, ReportFormat};
use super::failure::Failure;
use super::output::{Terminal, print};
use super::prepare::load;
use crate::exit::Exit;
use crate::journal::{Lock, stored};
use crate::report::{document, html, summary};

/// Made from the journal, so it is there also when the run was killed before it could write one.
pub(super) fn run(arguments: ReportArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    // It may end while the journal is read, and then the journal says so.
    let is_under_way = Lock::is_held(&plan.state_dir);
    let state = crate::journal::read(&plan.state_dir)?.unwrap_or_default();
    let report = stored::read(&plan.state_dir)?
        .and_then(|stored| document::build(&plan.name, &stored.databases, &stored.steps, &state));
    let Some(report) = report else {
        return Err(Failure::message(
            Exit::WrongInput,
            format!("{}: there is no run to report on", plan.name),
            "`pg-migrate run` comes first",
        ));
    };
    let report = if is_under_way && report.finished.is_none() && report.without_end.is_none() {
        report.under_way()
    } else {
        report
    };
    let text = match arguments.format {
        ReportFormat::Text => {
            let color = match arguments.out {
                Some(_) => crate::report::Color::Off,
                None => terminal.stdout_color(),
            };
            summary::render(&report, terminal.columns(), color)
        }
        ReportFormat::Json => document::json(&report),
        ReportFormat::Html => html::render(&report),
    };
    match arguments.out {
        Some(path) => std::fs::write(&path, text).map_err(|error| {
            Failure::message(
                Exit::Unexpected,
                format!("cannot write {}: {error}", path.display()),
                "choose another file with --out",
            )
        })?,
        None => print(&text)?,
    }
    Ok(Exit::Completed)
}
