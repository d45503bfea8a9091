//! A restart that a driver's step needs, given once: with it may begin what lasts, such as the writing of firmware during the self-test, and
//! another one would fall into that. It is noted before its BMC is told; what was noted and perhaps not heard is given time, in which the
//! driver is asked how far it is, and is told again only if that gets no further.

use drivers::bmc::{Bmc, BmcError, PowerAction};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// For how long a restart that may have been heard is taken as heard, in seconds: firmware is written in less.
const PATIENCE: f64 = 900.0;

/// How far it is. Earlier versions knew only whether it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Restart {
    /// Whether it is owed.
    Owed(bool),
    /// Its BMC was about to be told at this moment, and may have been.
    Begun {
        /// That moment.
        begun: Timestamp,
    },
}

impl Default for Restart {
    fn default() -> Self {
        Self::Owed(false)
    }
}

impl Restart {
    pub(super) fn read(memory: Option<&Value>) -> Self {
        memory.and_then(|it| serde_json::from_value(it.clone()).ok()).unwrap_or_default()
    }

    /// To be noted before [`Restart::tell`].
    pub(super) fn begin() -> Self {
        Self::Begun { begun: Timestamp::now() }
    }

    pub(super) fn is_owed(self) -> bool {
        self == Self::Owed(true)
    }

    /// What is left of it after the driver was asked. `wanted`: it wants one. `moved`: it got on.
    pub(super) fn looked(self, wanted: bool, moved: bool) -> Self {
        match self {
            _ if wanted => Self::Owed(true),
            Self::Begun { .. } if moved => Self::Owed(false),
            Self::Begun { begun } if Timestamp::now().seconds_since(begun) > PATIENCE => Self::Owed(true),
            other => other,
        }
    }

    /// Tells the BMC; what is to be noted then, and what it said.
    pub(super) async fn tell(self, bmc: &dyn Bmc) -> (Self, Result<(), BmcError>) {
        match bmc.set_power(PowerAction::Reset).await {
            Ok(()) => (Self::Owed(false), Ok(())),
            // What failed while it was done is rejected, too.
            Err(error @ (BmcError::Timeout { .. } | BmcError::Rejected { .. } | BmcError::Protocol { .. })) => (self, Err(error)),
            Err(error) => (Self::Owed(true), Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_earlier_versions_noted_is_read() {
        assert_eq!(Restart::read(None), Restart::default());
        assert_eq!(Restart::read(Some(&json!(true))), Restart::Owed(true));
        assert_eq!(Restart::read(Some(&json!(false))), Restart::Owed(false));
        let begun = Restart::begin();
        assert_eq!(Restart::read(Some(&json!(begun))), begun);
    }

    #[test]
    fn it_is_owed_again_only_if_the_driver_wants_it_or_stands_still_for_long() {
        let since = |seconds: i64| Restart::Begun { begun: Timestamp::now().plus_seconds(-seconds) };
        assert_eq!(since(0).looked(true, false), Restart::Owed(true));
        assert_eq!(since(1_000).looked(false, true), Restart::Owed(false));
        assert_eq!(since(1_000).looked(false, false), Restart::Owed(true));
        let young = since(600);
        assert_eq!(young.looked(false, false), young);
        assert_eq!(Restart::Owed(false).looked(false, false), Restart::Owed(false));
    }
}
