//! NVMe drives erase themselves: a format with a new key, or of every cell, takes seconds where writing takes hours.
//!
//! Source: NVM Express Base Specification 1.4: 5.15.2.2 (Identify Controller), 5.23 (Format NVM); Linux, `linux/nvme_ioctl.h`.
#![expect(unsafe_code, reason = "a drive's own commands are given by ioctl, which has no safe form")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// `struct nvme_admin_cmd`.
#[repr(C)]
#[derive(Debug, Default)]
struct AdminCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

// NVME_IOCTL_ID 'N' 0x40, NVME_IOCTL_ADMIN_CMD 'N' 0x41.
nix::ioctl_none_bad!(namespace_of, nix::request_code_none!(b'N', 0x40));
nix::ioctl_readwrite!(admin, b'N', 0x41, AdminCommand);

const IDENTIFY: u8 = 0x06;
const FORMAT: u8 = 0x80;
/// Size of what Identify gives, in bytes.
const IDENTITY: usize = 4096;
/// Longest format.
const FORMAT_TIMEOUT_MS: u32 = 600_000;

/// How a drive can erase itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By throwing away the key that everything is encrypted with.
    Key,
    /// By erasing all user data.
    Data,
}

impl Way {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "cryptographic erase",
            Self::Data => "user data erase",
        }
    }
}

/// The best way a controller offers, from what Identify Controller gave: OACS says whether it formats, FNA whether it has a key.
fn best(identity: &[u8]) -> Option<Way> {
    let formats = identity.get(256).is_some_and(|oacs| oacs & 2 != 0);
    let key = identity.get(524).is_some_and(|fna| fna & 4 != 0);
    formats.then_some(if key { Way::Key } else { Way::Data })
}

/// Lets a drive erase itself and says how it did; `None` when it is no NVMe drive or cannot. Blocking, up to ten minutes.
///
/// # Errors
/// As the kernel or the drive says; the data may be partly gone.
pub fn format(device: &File) -> io::Result<Option<Way>> {
    // SAFETY: the command takes and gives a number only.
    let Ok(namespace) = (unsafe { namespace_of(device.as_raw_fd()) }) else { return Ok(None) };
    let namespace = u32::try_from(namespace).map_err(io::Error::other)?;
    let mut identity = vec![0_u8; IDENTITY];
    let mut command = AdminCommand {
        opcode: IDENTIFY,
        address: identity.as_mut_ptr().expose_provenance().try_into().map_err(io::Error::other)?,
        data_bytes: u32::try_from(IDENTITY).unwrap_or_default(),
        // The controller, not a namespace.
        cdw10: 1,
        ..AdminCommand::default()
    };
    // SAFETY: `command` is a whole command that outlives the call; the drive writes into `identity`, which has the size given.
    let status = unsafe { admin(device.as_raw_fd(), &raw mut command) }?;
    if status != 0 {
        return Err(io::Error::other(format!("the drive refused to identify itself: status {status:#x}")));
    }
    let Some(way) = best(&identity) else { return Ok(None) };
    let setting: u32 = if way == Way::Key { 2 } else { 1 };
    let mut command = AdminCommand {
        opcode: FORMAT,
        namespace,
        // Secure erase setting, and the format of blocks as it is.
        cdw10: setting << 9 | u32::from(block_format(device, namespace)?),
        timeout_ms: FORMAT_TIMEOUT_MS,
        ..AdminCommand::default()
    };
    // SAFETY: `command` is a whole command that outlives the call; it moves no data.
    let status = unsafe { admin(device.as_raw_fd(), &raw mut command) }?;
    if status != 0 {
        return Err(io::Error::other(format!("the drive refused to format: status {status:#x}")));
    }
    Ok(Some(way))
}

/// Number of the block format in use (FLBAS of Identify Namespace), which the format command must repeat.
fn block_format(device: &File, namespace: u32) -> io::Result<u8> {
    let mut identity = vec![0_u8; IDENTITY];
    let mut command = AdminCommand {
        opcode: IDENTIFY,
        namespace,
        address: identity.as_mut_ptr().expose_provenance().try_into().map_err(io::Error::other)?,
        data_bytes: u32::try_from(IDENTITY).unwrap_or_default(),
        ..AdminCommand::default()
    };
    // SAFETY: `command` is a whole command that outlives the call; the drive writes into `identity`, which has the size given.
    let status = unsafe { admin(device.as_raw_fd(), &raw mut command) }?;
    if status != 0 {
        return Err(io::Error::other(format!("the drive refused to describe its namespace: status {status:#x}")));
    }
    Ok(identity.get(26).map_or(0, |flbas| flbas & 0x0f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_is_the_one_offered() {
        let of = |oacs: u8, fna: u8| {
            let mut identity = vec![0; IDENTITY];
            identity[256] = oacs;
            identity[524] = fna;
            best(&identity)
        };
        assert_eq!(of(0, 4), None);
        assert_eq!(of(2, 0), Some(Way::Data));
        assert_eq!(of(0x17, 4), Some(Way::Key));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn the_command_is_laid_out_as_the_kernel_has_it() {
        assert_eq!(size_of::<AdminCommand>(), 72);
        assert_eq!(std::mem::offset_of!(AdminCommand, address), 24);
        assert_eq!(std::mem::offset_of!(AdminCommand, cdw10), 40);
    }

    #[test]
    fn what_is_no_drive_is_left_alone() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(format(&file).unwrap(), None);
    }
}
