//! The parts of the web page that must fit the daemon: the access list and the sentences.

use std::collections::BTreeMap;

use ketuk::core::auth::Refusal;
use ketuk::core::counters::{Counters, Judged};
use ketuk::core::reason::{KnockReport, KnockedPort, Reason};
use ketuk::core::sequence::{Protocol, Step};

/// The ACL and the plugin have the same methods. A difference would be a security hole or a button without effect.
#[test]
fn the_acl_names_exactly_the_methods_there_are() {
    let acl = include_str!("../../openwrt/luci-app-ketuk/root/usr/share/rpcd/acl.d/luci-app-ketuk.json");
    let words: Vec<_> = acl.split('"').skip(1).step_by(2).collect();
    let methods = ["status", "check", "doctor", "open", "close", "keygen", "invite"];
    let granted: Vec<_> = words.iter().filter(|word| methods.contains(word)).copied().collect();
    assert_eq!(granted, methods, "read first, then write");
    let rest: Vec<_> = words.into_iter().filter(|word| !methods.contains(word)).collect();
    let expected = [
        "luci-app-ketuk",
        "description",
        rest[2],
        "read",
        "ubus",
        "ketuk",
        "uci",
        "ketuk",
        "write",
        "ubus",
        "ketuk",
        // LuCI starts a service that does not run.
        "file",
        "/etc/init.d/ketuk restart",
        "exec",
        "uci",
        "ketuk",
    ];
    assert_eq!(rest, expected);
}

/// The web page has every sentence of the daemon, for its translation, under the right name and with `%s` for each value.
#[test]
fn the_page_has_the_daemons_sentences() {
    use Judged::{
        Advanced, Flags, Forgiven, Implausible, NoDoor, NotBegun, NotOurs, Opened, Repeat, Retransmission,
        TotpKnock, Trap, Unchanged, WrongStep,
    };
    let judged = [
        Opened,
        Unchanged,
        Advanced,
        Retransmission,
        Repeat,
        TotpKnock,
        WrongStep,
        Forgiven,
        Trap,
        NotBegun,
        Implausible,
        NotOurs,
        Flags,
        NoDoor,
    ];
    let refused = Refusal::ALL.map(Reason::Refused);
    let counters = Counters::new();
    let names = counters.iter().map(|(name, _)| name).take_while(|name| *name != Refusal::ALL[0].name());
    assert!(judged.map(Judged::name).into_iter().eq(names), "each kind of judgement is here");

    let due = Step { port: 8000.try_into().unwrap(), protocol: Protocol::Udp };
    let came = KnockedPort { port: 9000, protocol: Protocol::Tcp };
    let mut expected = BTreeMap::new();
    for reason in judged.map(Reason::Judged).into_iter().chain(refused).chain([
        Reason::Asked,
        Reason::Shut,
        Reason::TimedOut,
    ]) {
        let mut text =
            KnockReport { reason, port: Some(came), stage: 1, steps: 3, due: Some(due) }.to_string();
        if !matches!(reason, Reason::Refused(_)) {
            for value in ["8000/udp", "9000/tcp", "1", "2", "3"] {
                text = text.replace(value, "%s");
            }
        }
        expected.insert(reason.name().to_owned(), text);
    }
    let page = include_str!("../../openwrt/luci-app-ketuk/htdocs/luci-static/resources/ketuk/daemon.js");
    let (_, page) = page.split_once("const SENTENCES = {\n").unwrap();
    let lines = page.split("\n};").next().unwrap().lines();
    let lines = lines.map(|line| line.trim().trim_end_matches(',').split_once(": _('").unwrap());
    let text = |quoted: &str| quoted.strip_suffix("')").unwrap().replace("\\'", "'");
    let lines = lines.map(|(name, quoted)| (name.to_owned(), text(quoted)));
    let found: BTreeMap<_, _> = lines.collect();
    assert_eq!(found, expected);
}
