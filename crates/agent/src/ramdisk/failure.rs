//! What a command that failed answers: the four fields every ironic-python-agent error has.

use serde::Serialize;

/// An error of a command in the form of ironic-python-agent (`ironic_python_agent/errors.py`: `RESTError`), whose class names
/// and messages the control plane shows and sometimes matches on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}: {details}")]
pub struct Failure {
    /// Class name, such as `ImageChecksumError`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// HTTP-like code.
    pub code: u16,
    /// What the agent was doing, always the same text for a kind.
    pub message: &'static str,
    /// What happened this time.
    pub details: String,
}

impl Failure {
    fn new(kind: &'static str, code: u16, message: &'static str, details: impl Into<String>) -> Self {
        Self { kind, code, message, details: details.into() }
    }

    /// The request cannot be understood.
    pub fn content(details: impl Into<String>) -> Self {
        Self::new("InvalidContentError", 400, "Invalid request body", details)
    }

    /// There is no such command in this extension.
    pub fn command(details: impl Into<String>) -> Self {
        Self::new("InvalidCommandError", 400, "Invalid command", details)
    }

    /// The parameters of a command do not make sense.
    pub fn params(details: impl Into<String>) -> Self {
        Self::new("InvalidCommandParamsError", 400, "Invalid command parameters", details)
    }

    /// Something named by id does not exist.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new("RequestedObjectNotFoundError", 404, "Not found", format!("{what} with id {id} not found."))
    }

    /// Another command runs.
    pub fn busy(running: &str) -> Self {
        Self::new("AgentIsBusy", 409, "Agent is busy", format!("executing command {running}"))
    }

    /// The control plane planned with steps of another version of this agent.
    pub fn version_mismatch(details: impl Into<String>) -> Self {
        Self::new("VersionMismatch", 409, "Hardware managers version mismatch, reload agent with correct version", details)
    }

    /// The command broke off for a reason of no other kind.
    pub fn execution(details: impl Into<String>) -> Self {
        Self::new("CommandExecutionError", 500, "Command execution failed", details)
    }

    /// The machine has no such disk.
    pub fn device(details: impl Into<String>) -> Self {
        Self::new("DeviceNotFound", 404, "Error finding the disk or partition device to deploy the image onto", details)
    }

    /// The image is of a form this agent does not write.
    pub fn image(details: impl Into<String>) -> Self {
        Self::new("InvalidImage", 500, "The provided image is not valid for use", details)
    }

    /// The image could not be fetched.
    pub fn download(image: &str, why: impl std::fmt::Display) -> Self {
        Self::new("ImageDownloadError", 500, "Error downloading image", format!("Download of image {image} failed: {why}"))
    }

    /// The image, as downloaded or as read back from the disk, is not the one promised.
    pub fn checksum(details: impl Into<String>) -> Self {
        Self::new("ImageChecksumError", 500, "Error verifying image checksum", details)
    }

    /// The image could not be written.
    pub fn write(details: impl Into<String>) -> Self {
        Self::new("ImageWriteError", 500, "Error writing image to device", details)
    }

    /// The config drive could not be read or placed.
    pub fn config_drive(details: impl Into<String>) -> Self {
        Self::new("DeploymentError", 500, "Deploy step failed", details)
    }

    /// The disk could not be erased, or was found not to be empty afterwards.
    pub fn erase(details: impl Into<String>) -> Self {
        Self::new("BlockDeviceEraseError", 500, "Error erasing block device", details)
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
