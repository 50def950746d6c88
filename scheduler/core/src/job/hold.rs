//! Who holds a job back.

use serde::{Deserialize, Serialize};

/// Who holds a waiting job back. The greater hold covers the lesser, and only who may set it may take it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HeldBy {
    /// Its own user.
    User,
    /// An operator, or the system after a failure.
    Operator,
}
