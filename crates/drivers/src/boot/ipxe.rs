//! The iPXE script that a machine is given.

/// What a machine is to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot<'a> {
    /// URL of the kernel.
    pub kernel_url: &'a str,
    /// URL of the initial ramdisk.
    pub initrd_url: &'a str,
    /// Kernel arguments, each one word.
    pub args: &'a [String],
}

/// Why a script could not be written.
#[derive(Debug, thiserror::Error)]
pub enum IpxeError {
    /// A word would break out of its place in the script.
    #[error("{0:?} cannot be part of an iPXE script")]
    Word(String),
}

/// Renders the script (Source: iPXE documentation, "Scripting").
///
/// # Errors
/// `Word` if a URL or an argument is empty or has white space, control characters, `$`, `#`, `|` or `&`.
pub fn render(boot: &Boot<'_>) -> Result<String, IpxeError> {
    let words = [boot.kernel_url, boot.initrd_url].into_iter().chain(boot.args.iter().map(String::as_str));
    for word in words {
        if word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control() || "$#|&".contains(c)) {
            return Err(IpxeError::Word(word.to_owned()));
        }
    }
    // `initrd=` tells UEFI kernels the name under which iPXE hands the ramdisk over.
    Ok(format!(
        "#!ipxe\nkernel {} initrd=initrd {}\ninitrd --name initrd {}\nboot\n",
        boot.kernel_url,
        boot.args.join(" "),
        boot.initrd_url
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script() {
        let boot = Boot { kernel_url: "http://a/k", initrd_url: "http://a/i", args: &["x=1".into(), "y".into()] };
        assert_eq!(render(&boot).unwrap(), "#!ipxe\nkernel http://a/k initrd=initrd x=1 y\ninitrd --name initrd http://a/i\nboot\n");
        for word in ["", "a b", "a\nshell", "${net0/mac}", "a&&b"] {
            assert!(render(&Boot { args: &[word.into()], ..boot.clone() }).is_err(), "{word}");
        }
    }
}
