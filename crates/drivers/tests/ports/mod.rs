//! Ports for programs that are told where to listen.

/// A port of the loopback address that nobody uses, by `is_free`; out of the range from which the kernel takes the near ends of connections,
/// so that it stays free until the program listens.
pub fn free(first: u16, range: u16, is_free: impl Fn(u16) -> bool) -> u16 {
    static GIVEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    // No two of one process get the same, and processes that were started one after the other begin far from each other.
    let given = GIVEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let start = u16::try_from(std::process::id().wrapping_mul(61).wrapping_add(given) % u32::from(range)).unwrap();
    (0..range).map(|step| first + (start + step) % range).find(|port| is_free(*port)).unwrap()
}
