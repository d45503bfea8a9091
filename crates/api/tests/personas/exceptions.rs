//! Where Cofferdam knowingly answers otherwise than Keystone.

/// Every such cell.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        row: "identity:create_project POST /v3/projects any a domain",
        persona: "domain-admin",
        status: 403,
        reason: "whom `create_domain` refuses makes no domain by way of the projects either",
    },
    Exception {
        row: "identity:create_application_credential POST /v3/users/{user}/application_credentials self",
        persona: "unscoped",
        status: 400,
        reason: "a credential that is of no project is of no use: it is said at once",
    },
];

/// One cell.
pub struct Exception {
    /// The row, see [`Row::name`](crate::table::Row::name).
    pub row: &'static str,
    /// Who asks.
    pub persona: &'static str,
    /// What it is answered here.
    pub status: u16,
    /// Why.
    pub reason: &'static str,
}
