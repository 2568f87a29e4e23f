//! How each kind of step works, a module each. A step knows nothing of other steps, of budgets or
//! of the journal.

pub mod create;
pub mod globals;
