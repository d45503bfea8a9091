//! The methods that only a vendor's interface has: the API lists them and lets no other through, drivers carry them out.

/// A method of a vendor interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorMethod {
    /// Its name.
    pub name: &'static str,
    /// The HTTP verbs with which it is called.
    pub verbs: &'static [&'static str],
    /// Whether its end is not waited for.
    pub is_async: bool,
    /// Whether nobody else may work on the node meanwhile.
    pub locks: bool,
    /// What it does, for operators.
    pub about: &'static str,
}

const fn called(name: &'static str, verbs: &'static [&'static str], about: &'static str) -> VendorMethod {
    VendorMethod { name, verbs, is_async: true, locks: true, about }
}

const fn waited_for(name: &'static str, verbs: &'static [&'static str], about: &'static str) -> VendorMethod {
    VendorMethod { is_async: false, ..called(name, verbs, about) }
}

/// The vendor interfaces that have methods, and these (Source: Ironic documentation, "Vendor passthru", and the drivers' pages).
pub const VENDOR_METHODS: &[(&str, &[VendorMethod])] = &[
    (
        "fake",
        &[
            called("second_method", &["POST"], "Test if the value of bar is kazoo"),
            waited_for("third_method_sync", &["POST"], "Test if the value of bar is meow"),
            VendorMethod { locks: false, ..called("fourth_method_shared_lock", &["POST"], "Test if the value of bar is woof") },
            called("log_passthrough", &["POST"], "Test pass-through to wait."),
        ],
    ),
    (
        "ipmitool",
        &[
            called("send_raw", &["POST"], "Send raw bytes to the BMC. Required argument: 'raw_bytes' - bytes such as '0x00 0x01'."),
            called("bmc_reset", &["POST"], "Reset the BMC. Argument: 'warm' - true for a warm reset, false for a cold one."),
        ],
    ),
    (
        "redfish",
        &[
            called(
                "eject_vmedia",
                &["POST"],
                "Eject a virtual media device. Optional argument: 'boot_device' - cd, dvd, usb or floppy; all if absent.",
            ),
            waited_for("create_subscription", &["POST"], "Have events told. Required argument: 'Destination' - the URL to which."),
            waited_for("delete_subscription", &["DELETE"], "Have events told no more. Required argument: 'id' - the subscription's."),
            waited_for("get_all_subscriptions", &["GET"], "All subscriptions to events."),
            waited_for("get_subscription", &["GET"], "One subscription to events. Required argument: 'id'."),
        ],
    ),
];

/// The methods of a vendor interface.
pub fn methods_of(interface: &str) -> &'static [VendorMethod] {
    VENDOR_METHODS.iter().find(|it| it.0 == interface).map_or(&[], |it| it.1)
}
