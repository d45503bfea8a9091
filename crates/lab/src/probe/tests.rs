use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A bridge and namespaces whose `eth0` can be plugged into it; all of it goes when this does.
struct Bench {
    prefix: String,
}

impl Bench {
    /// Namespaces 1 to `count`; none is plugged in yet. `None` if that is not possible here.
    fn new(count: usize) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root, to make network namespaces");
            return None;
        }
        let bench = Self { prefix: format!("cdp{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)) };
        bench.ip(&["netns", "add", &bench.switch()]);
        bench.ip(&["-n", &bench.switch(), "link", "add", "br0", "type", "bridge"]);
        bench.ip(&["-n", &bench.switch(), "link", "set", "br0", "up"]);
        for number in 1..=count {
            let name = bench.netns(number);
            let port = format!("p{number}");
            bench.ip(&["netns", "add", &name]);
            bench.ip(&["-n", &bench.switch(), "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name]);
            bench.ip(&["-n", &bench.switch(), "link", "set", &port, "up"]);
            for link in ["lo", "eth0"] {
                bench.ip(&["-n", &name, "link", "set", link, "up"]);
            }
        }
        Some(bench)
    }

    fn switch(&self) -> String {
        format!("{}-br", self.prefix)
    }

    fn netns(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn ip(&self, arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn address(&self, number: usize, address: &str) {
        self.ip(&["-n", &self.netns(number), "address", "add", address, "dev", "eth0"]);
    }

    fn plug_in(&self, number: usize) {
        self.ip(&["-n", &self.switch(), "link", "set", &format!("p{number}"), "master", "br0"]);
    }

    /// Every namespace as a machine; `hostnames` makes containers of them.
    fn targets(&self, count: usize, hostnames: &[&str]) -> Vec<Target> {
        let target = |number: usize| {
            let container = hostnames.get(number - 1).map(|name| (*name).to_owned());
            Target {
                name: number.to_string(),
                machine: format!("m{number}"),
                hostname: container.clone(),
                container,
                pid: 0,
                netns: PathBuf::from("/run/netns").join(self.netns(number)),
            }
        };
        (1..=count).map(target).collect()
    }

    /// A service that answers with these words; ends with the test's process.
    fn serve(&self, number: usize, port: u16, says: &'static str) {
        let netns = File::open(PathBuf::from("/run/netns").join(self.netns(number))).unwrap();
        let listener = sockets::inside(&netns, || Ok(TcpListener::bind(("0.0.0.0", port))?)).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                stream.write_all(says.as_bytes()).unwrap();
            }
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let output = Command::new("ip").args(["netns", "list"]).output().map(|it| it.stdout).unwrap_or_default();
        for name in String::from_utf8_lossy(&output).lines().filter_map(|line| line.split(' ').next()) {
            if name.starts_with(&format!("{}-", self.prefix)) && Command::new("ip").args(["netns", "delete", name]).status().is_err() {
                eprintln!("cannot remove the network namespace {name}");
            }
        }
    }
}

fn options() -> Options {
    Options { timeout: Duration::from_millis(400), vlans: vec![1, 101], ..Options::default() }
}

fn reach(report: &Report) -> Vec<String> {
    let pair = |it: &Reach| format!("{}{} {}", it.from, it.to, it.via.iter().map(Way::letter).collect::<String>());
    report.reach.iter().map(pair).collect()
}

#[test]
fn two_that_are_joined_reach_each_other_and_the_third_nobody_until_it_is_joined_too() {
    let Some(bench) = Bench::new(3) else { return };
    for (number, address) in [(1, "10.9.0.1/24"), (2, "10.9.0.2/24"), (3, "10.9.0.3/24")] {
        bench.address(number, address);
    }
    bench.plug_in(1);
    bench.plug_in(2);
    let targets = bench.targets(3, &[]);
    let report = measure(&targets, &options()).unwrap();
    assert_eq!(reach(&report), ["12 LU", "21 LU"], "{report}");
    assert!(report.duration_ms < 3000, "{report}");
    for from in ["1", "2", "3"] {
        for to in ["1", "2", "3"] {
            let sent =
                report.results.iter().filter(|it| it.from == from && it.to == to && it.kind == Way::L2).map(|it| it.sent).sum::<u64>();
            assert_eq!(sent > 0, from != to, "every pair was measured: {from} {to}");
        }
    }

    bench.plug_in(3);
    let report = measure(&targets, &options()).unwrap();
    assert_eq!(reach(&report), ["12 LU", "13 LU", "21 LU", "23 LU", "31 LU", "32 LU"], "{report}");
}

/// Two pairs with the same addresses, apart: what one sends to the address of its neighbour must not count for the namesake.
#[test]
fn whoever_hears_a_packet_counts_and_nobody_else_with_the_same_address() {
    let Some(bench) = Bench::new(4) else { return };
    for (number, address) in [(1, "10.9.0.1/24"), (2, "10.9.0.2/24"), (3, "10.9.0.1/24"), (4, "10.9.0.2/24")] {
        bench.address(number, address);
    }
    bench.plug_in(1);
    bench.plug_in(2);
    bench.serve(2, 8080, "two\n");
    bench.serve(4, 8080, "four\n");
    let targets = bench.targets(4, &["one", "two", "three", "four"]);
    let options = Options { service_port: Some(8080), ..options() };
    let report = measure(&targets, &options).unwrap();
    assert_eq!(reach(&report), ["12 LUS", "21 LU"], "{report}");
    let to_namesake = report.results.iter().find(|it| it.from == "1" && it.to == "4" && it.kind == Way::Service).unwrap();
    assert_eq!((to_namesake.sent > 0, to_namesake.received), (true, 0));
}

#[test]
fn the_blind_and_the_nameless_are_errors() {
    let Some(bench) = Bench::new(2) else { return };
    bench.address(1, "10.9.0.1/24");
    bench.address(2, "10.9.0.2/24");
    bench.plug_in(1);
    bench.plug_in(2);
    bench.serve(2, 8080, "");
    let options = Options { service_port: Some(8080), ..options() };
    let error = measure(&bench.targets(2, &[]), &options).unwrap_err();
    assert!(error.to_string().contains("answers 1 at 10.9.0.2 without saying who"), "{error:#}");
    bench.serve(2, 8081, "stranger\n");
    let error = measure(&bench.targets(2, &[]), &Options { service_port: Some(8081), ..options }).unwrap_err();
    assert!(error.to_string().contains("\"stranger\" answers 1"), "{error:#}");

    bench.ip(&["-n", &bench.netns(1), "link", "set", "eth0", "down"]);
    let error = measure(&bench.targets(2, &[]), &self::options()).unwrap_err();
    assert!(format!("{error:#}").contains("preparing 1: it has no network interface that is up"), "{error:#}");
    let gone = Target { netns: "/run/netns/never-was".into(), ..bench.targets(1, &[]).remove(0) };
    assert!(measure(&[gone], &self::options()).is_err());
}

/// A firewall on the endpoint that drops what comes in makes it deaf, which must not look like isolation.
#[test]
fn the_deaf_are_errors() {
    let Some(bench) = Bench::new(1) else { return };
    bench.address(1, "10.9.0.1/24");
    let rules = "table inet t { chain c { type filter hook input priority 0; policy drop; }; }";
    let status = Command::new("ip").args(["netns", "exec", &bench.netns(1), "nft", rules]).output();
    if !status.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: there is no nft here");
        return;
    }
    let error = measure(&bench.targets(1, &[]), &options()).unwrap_err();
    assert!(error.to_string().contains("deaf in 1"), "{error:#}");
}
