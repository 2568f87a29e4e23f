//! Whether a crash may have damaged the target's cluster, by its mark.

use super::error::Error;
use crate::mark::Mark;
use crate::plan::{Endpoint, Plan};
use crate::postgres::{Application, Session, connect};
use crate::step::tuning;

/// What the target's mark says of a crash of its machine while it did not wait for the disk: what a plan saw, or what nobody looked for
/// yet, since the settings for the load are still to be restored. `id`: that of our state directory, which has its own record.
///
/// # Errors
///
/// A target that cannot be reached.
pub(crate) async fn marked_damage(
    plan: &Plan,
    target: &Endpoint,
    id: Option<&str>,
) -> Result<Option<String>, Error> {
    let mark = Mark::to_read(target, &plan.name, id);
    let damage = mark.damage().await;
    mark.close().await;
    let (damage, left) = damage?;
    if damage.is_some() || left.is_empty() {
        return Ok(damage);
    }
    let application = Application::with_state(&plan.name, id).application_name_for("mark");
    let connection = connect(target, &target.database, &Session::new(&application)).await?;
    for tuned in left {
        if let Some(warning) = tuning::crash_warning(&connection, target, &tuned).await? {
            return Ok(Some(warning));
        }
    }
    Ok(None)
}
