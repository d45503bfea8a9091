//! The kernel command line, by which network boot tells the ramdisk where its control plane is.
//!
//! Source: ironic-python-agent, `ironic_python_agent/utils.py` (`get_agent_params`) and `config.py` (`ipa-*` names).

/// The arguments of the kernel command line that matter to the agent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cmdline {
    /// `ipa-api-url`: base of the bare metal API, without a slash at the end.
    pub api_url: Option<String>,
    /// `ipa-node-uuid`: the node to look up, when the control plane already knows which machine it boots.
    pub node_uuid: Option<String>,
    /// `ipa-agent-token`: a token baked into the boot medium. Never logged.
    pub agent_token: Option<String>,
    /// `BOOTIF`: hardware address of the interface the firmware booted from, lower case with colons.
    pub boot_mac: Option<String>,
}

impl Cmdline {
    /// Reads a command line. Unknown arguments are left alone, since most are for the kernel; of repeated ones the last counts.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for word in words(text) {
            let Some((key, value)) = word.split_once('=') else { continue };
            if value.is_empty() {
                continue;
            }
            match key {
                "ipa-api-url" => found.api_url = Some(value.trim_end_matches('/').to_owned()),
                "ipa-node-uuid" => found.node_uuid = Some(value.to_owned()),
                "ipa-agent-token" => found.agent_token = Some(value.to_owned()),
                "BOOTIF" => found.boot_mac = boot_mac(value),
                _ => {}
            }
        }
        found
    }
}

/// PXELINUX writes `BOOTIF=01-aa-bb-cc-dd-ee-ff`: the hardware type (01, Ethernet) before the address.
fn boot_mac(value: &str) -> Option<String> {
    let mac = value.to_ascii_lowercase().replace('-', ":");
    let mac = if mac.len() == 20 { mac.strip_prefix("01:")?.to_owned() } else { mac };
    let octets: Vec<&str> = mac.split(':').collect();
    (octets.len() == 6 && octets.iter().all(|octet| octet.len() == 2 && u8::from_str_radix(octet, 16).is_ok())).then_some(mac)
}

/// Splits at white space outside double quotes, as the kernel does, and drops the quotes.
fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_agent_is_found_among_the_rest() {
        let line = Cmdline::parse(
            "BOOT_IMAGE=/deploy.kernel root=/dev/ram0 quiet ipa-api-url=http://172.30.0.1:8089/baremetal/ \
             BOOTIF=01-52-54-00-AA-BB-01 ipa-node-uuid=6d1 ipa-agent-token=\"a b\"\n",
        );
        assert_eq!(line.api_url.as_deref(), Some("http://172.30.0.1:8089/baremetal"));
        assert_eq!(line.boot_mac.as_deref(), Some("52:54:00:aa:bb:01"));
        assert_eq!(line.node_uuid.as_deref(), Some("6d1"));
        assert_eq!(line.agent_token.as_deref(), Some("a b"));
    }

    #[test]
    fn empty_and_malformed_arguments_count_as_absent() {
        assert!(Cmdline::parse("") == Cmdline::default());
        assert!(Cmdline::parse("ipa-api-url= BOOTIF=01-52-54 BOOTIF=zz:54:00:aa:bb:01 ipa-node-uuid") == Cmdline::default());
    }

    #[test]
    fn the_last_of_repeated_arguments_counts() {
        let line = Cmdline::parse("ipa-api-url=http://10.0.0.1 ipa-api-url=http://10.0.0.2");
        assert_eq!(line.api_url.as_deref(), Some("http://10.0.0.2"));
    }
}
