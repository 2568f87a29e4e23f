//! `tune-target`: sets what the graph says, after what was there before is on record.

use super::{Target, alter_system, auto_conf, reload, started};
use crate::failpoint::reach;
use crate::journal::{AlteredSetting, Change};
use crate::names::Output;
use crate::plan::Side;
use crate::postgres::Session;
use crate::step::{Context, StepError};

/// Sets what the whole server gets. This run's sessions set the rest for themselves.
///
/// A run that is stopping does not interrupt it: `restore-settings` would come at once, and half a change
/// has to be restored as much as a whole one.
pub(crate) async fn run(context: &Context) -> Result<Output, StepError> {
    let Some(tuning) = &context.shared.graph.tuning else {
        return Err(StepError::fault("the graph has no settings for the target"));
    };
    if tuning.system().next().is_none() {
        return Ok(Output::default());
    }
    let target = Target {
        endpoint: context.endpoint(Side::Target),
        session: Session::new(&context.application()),
    };
    let connection = target.connect().await?;
    auto_conf::refuse_syntax_errors(&connection).await?;
    let entries = auto_conf::entries(&connection).await?;
    let settings: Vec<AlteredSetting> = tuning
        .system()
        .map(|setting| AlteredSetting {
            name: setting.name.clone(),
            value: setting.value.clone(),
            // After an attempt that did not end, the file holds our values.
            before: match context.tuned.get(&setting.name) {
                Some(tuned) => tuned.before.clone(),
                None => entries.get(&setting.name).cloned(),
            },
        })
        .collect();
    let since = started::read(&connection, target.endpoint).await?;
    context
        .record(Change::AlterSystem { settings, since })
        .await?;
    for setting in tuning.system() {
        alter_system(&connection, &setting.name, Some(&setting.value)).await?;
        reach!("set {}", setting.name);
    }
    reload(connection, &target).await?.close().await;
    Ok(Output::default())
}
