//! `pg-migrate init`.

use std::fs::OpenOptions;
use std::io::Write;

use super::arguments::InitArguments;
use super::failure::Failure;
use super::output::{print, tell};
use super::prepare::endpoints;
use crate::exit::Exit;
use crate::inspect;
use crate::plan::template::{Template, render};
use crate::plan::{self};

pub(super) async fn run(arguments: InitArguments) -> Result<Exit, Failure> {
    let mut template = Template {
        from_host: arguments.from_host,
        from_port: arguments.from_port,
        from_user: arguments.from_user,
        from_db: arguments.from_db,
        to_host: arguments.to_host,
        to_port: arguments.to_port,
        to_user: arguments.to_user,
        to_db: arguments.to_db,
        max_parallel: arguments.max_parallel,
        dump_parallel: arguments.dump_parallel,
        restore_parallel: arguments.restore_parallel,
        dump_jobs: arguments.dump_jobs,
        restore_jobs: arguments.restore_jobs,
        verify_concurrency: arguments.verify_concurrency,
        dump_root: arguments.dump_root,
        migrate_globals: arguments.migrate_globals,
        disable_dst_optimizations: arguments.disable_dst_optimizations.then_some(true),
        fast_verify: arguments.fast_verify.then_some(true),
        delay_table_data: arguments.delay_table_data,
        ..Template::default()
    };
    if arguments.look {
        template.databases = look(&template).await?;
    }
    let text = render(&template);
    let Some(path) = arguments.out else {
        print(&text)?;
        return Ok(Exit::Completed);
    };
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)
        .map_err(|error| {
            Failure::message(
                Exit::WrongInput,
                format!("cannot create {}: {error}", path.display()),
                "choose another file with --out; an existing file is not overwritten",
            )
        })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        Failure::message(
            Exit::Unexpected,
            format!("cannot write {}: {error}", path.display()),
            "look at the free space of its file system",
        )
    })?;
    tell!("written: {}", path.display());
    Ok(Exit::Completed)
}

/// The source's databases with their sizes, by the very plan that is being written.
async fn look(template: &Template) -> Result<Vec<(String, u64)>, Failure> {
    let here = std::path::absolute("plan.toml")?;
    let plan = plan::parse(&render(template), &here).map_err(Failure::with(Exit::WrongInput))?;
    let (source, _) = endpoints(&plan).await?;
    inspect::database_sizes(&plan, &source)
        .await
        .map_err(Failure::with(Exit::NotStarted))
}
