//! The kernel command line, by which network boot tells the ramdisk where its control plane is.
//!
//! Source: ironic-python-agent, `ironic_python_agent/utils.py` (`get_agent_params`) and `config.py` (`ipa-*` names).

use std::time::Duration;

/// The arguments of the kernel command line that matter to the agent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cmdline {
    /// `ipa-api-url`: base of the bare metal API, without a slash at the end.
    pub api_url: Option<String>,
    /// `ipa-node-uuid`: the node to look up, when the control plane already knows which machine it boots.
    pub node_uuid: Option<String>,
    /// `ipa-agent-token`: a token baked into the boot medium. Never logged.
    pub agent_token: Option<String>,
    /// `ipa-inspection-callback-url`: where the inventory goes; several are tried in turn.
    pub inspection_urls: Vec<String>,
    /// `ipa-lldp-timeout`: how long neighbours are listened for while inspecting, in seconds.
    pub lldp_timeout: Option<Duration>,
    /// `cofferdam-tpm`: where the TPM is, if not at `/dev/tpmrm0`; see [`super::tpm::Place`].
    pub tpm: Option<String>,
    /// `BOOTIF`: hardware address of the interface the firmware booted from, lower case with colons.
    pub boot_mac: Option<String>,
}

impl Cmdline {
    /// Reads a command line. Unknown arguments are left alone, since most are for the kernel; of repeated ones the last counts.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        found.read(text);
        found
    }

    /// Reads further arguments, which count more than those before.
    pub fn read(&mut self, text: &str) {
        let found = self;
        let mut inspects = false;
        for word in words(text) {
            let Some((key, value)) = word.split_once('=') else { continue };
            if value.is_empty() {
                continue;
            }
            match key {
                "ipa-api-url" => found.api_url = Some(value.trim_end_matches('/').to_owned()),
                "ipa-node-uuid" => found.node_uuid = Some(value.to_owned()),
                "ipa-agent-token" => found.agent_token = Some(value.to_owned()),
                "ipa-inspection-callback-url" => found.inspection_urls = urls(value),
                "ipa-inspection-collectors" => inspects = true,
                "ipa-lldp-timeout" => found.lldp_timeout = value.parse().ok().and_then(|it| Duration::try_from_secs_f64(it).ok()),
                "cofferdam-tpm" => found.tpm = Some(value.to_owned()),
                "BOOTIF" => found.boot_mac = boot_mac(value),
                _ => {}
            }
        }
        // Collectors without a URL of their own mean the bare metal API.
        if let (true, true, Some(base)) = (inspects, found.inspection_urls.is_empty(), &found.api_url) {
            found.inspection_urls = vec![format!("{base}/v1/continue_inspection")];
        }
    }
}

fn urls(value: &str) -> Vec<String> {
    value.split(',').filter(|it| !it.is_empty()).map(|it| it.trim_end_matches('/').to_owned()).collect()
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
    fn inspection_goes_to_its_own_address_or_to_the_api() {
        let line = Cmdline::parse("ipa-inspection-collectors=default,lldp ipa-api-url=http://10.0.0.1/ ipa-lldp-timeout=2.5");
        assert_eq!(line.inspection_urls, ["http://10.0.0.1/v1/continue_inspection"]);
        assert_eq!(line.lldp_timeout, Some(Duration::from_millis(2500)));
        let line = Cmdline::parse("ipa-api-url=http://10.0.0.1 ipa-inspection-callback-url=http://10.0.0.2/i,http://10.0.0.3/i/");
        assert_eq!(line.inspection_urls, ["http://10.0.0.2/i", "http://10.0.0.3/i"]);
        assert!(Cmdline::parse("ipa-api-url=http://10.0.0.1 ipa-lldp-timeout=-1").inspection_urls.is_empty());
    }

    #[test]
    fn the_last_of_repeated_arguments_counts() {
        let line = Cmdline::parse("ipa-api-url=http://10.0.0.1 ipa-api-url=http://10.0.0.2");
        assert_eq!(line.api_url.as_deref(), Some("http://10.0.0.2"));
    }
}
