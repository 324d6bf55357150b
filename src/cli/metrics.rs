//! `ketukd metrics`: the daemon's state in Prometheus' text exposition format.

use std::fmt::{self, Write};

use super::arguments::Arguments;
use super::control::{self, Unreached};
use super::{CommandResult, Failure, print};
use crate::control::show::Status;
use crate::core::counters::CountedEvent;

/// Prints the metrics. If the daemon does not run, the metric `ketuk_up` is 0 and the command succeeds, because the
/// textfile collector needs a file that says so.
pub(super) fn metrics(arguments: &Arguments) -> CommandResult {
    let mut text = String::new();
    let status = match control::ask_status(arguments) {
        Ok(status) => Some(status),
        // The daemon may be well, so `ketuk_up` is neither 0 nor 1.
        Err(refused @ Unreached::Refused(_)) => return Err(Failure::Failed(refused.to_string())),
        Err(unreached) => {
            eprintln!("ketukd: {unreached}");
            None
        }
    };
    write(&mut text, status.as_ref()).expect("a String takes everything");
    print(&text)
}

/// A metric with its samples.
struct Metric<'a, W> {
    out: &'a mut W,
    name: &'static str,
}

impl<'a, W: Write> Metric<'a, W> {
    /// Writes the lines above the samples. `kind` is `gauge` or `counter`.
    fn new(out: &'a mut W, name: &'static str, kind: &str, help: &str) -> Result<Self, fmt::Error> {
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        Ok(Self { out, name })
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: u64) -> fmt::Result {
        self.out.write_str(self.name)?;
        for (n, (label, text)) in labels.iter().enumerate() {
            write!(self.out, "{}{label}=\"{}\"", if n == 0 { '{' } else { ',' }, escaped(text))?;
        }
        writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" })
    }
}

/// A label's value: backslashes, quotes and ends of lines are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes all metrics. Without a status, the daemon does not answer.
fn write(out: &mut impl Write, status: Option<&Status>) -> fmt::Result {
    Metric::new(out, "ketuk_up", "gauge", "Whether the daemon answers.")?
        .sample(&[], status.is_some().into())?;
    let Some(status) = status else { return Ok(()) };
    let daemon = status.daemon();
    Metric::new(out, "ketuk_info", "gauge", "The daemon's version and backend; always 1.")?
        .sample(&[("version", daemon.version), ("backend", daemon.backend)], 1)?;
    Metric::new(out, "ketuk_uptime_seconds", "gauge", "Seconds since the daemon started.")?
        .sample(&[], daemon.uptime_seconds)?;
    Metric::new(out, "ketuk_attempts", "gauge", "Sources that have begun to knock, once for each door.")?
        .sample(&[], daemon.knocking)?;
    if let Some(trusted) = daemon.clock_trusted {
        Metric::new(
            out,
            "ketuk_clock_trusted",
            "gauge",
            "Whether the time is known, which users' knocks need.",
        )?
        .sample(&[], trusted.into())?;
    }
    let mut listening = Metric::new(
        out,
        "ketuk_device_listening",
        "gauge",
        "Whether the daemon hears all knocks at the device.",
    )?;
    for device in status.devices() {
        listening.sample(&[("device", device.name)], (device.state == "listening").into())?;
    }
    let mut grants = Metric::new(out, "ketuk_grants", "gauge", "Addresses that the door is open for.")?;
    for door in status.doors() {
        grants.sample(&[("door", door.name)], door.open)?;
    }
    let mut ready = Metric::new(
        out,
        "ketuk_door_ready",
        "gauge",
        "Whether the firewall has what the door needs to open.",
    )?;
    for door in status.doors() {
        ready.sample(&[("door", door.name)], (door.firewall != "missing").into())?;
    }
    let mut warned = Metric::new(
        out,
        "ketuk_door_warning",
        "gauge",
        "Whether the door is open to everybody, or stays shut after a knock.",
    )?;
    for door in status.doors() {
        warned.sample(&[("door", door.name)], door.warning.is_some().into())?;
    }
    let counters = || status.counters().partition::<Vec<_>, _>(|counter| CountedEvent::is_name(counter.name));
    let (events, packets) = counters();
    let mut total =
        Metric::new(out, "ketuk_packets_total", "counter", "Packets that the daemon judged, by result.")?;
    for counter in packets {
        total.sample(&[("result", counter.name)], counter.value)?;
    }
    let mut total = Metric::new(
        out,
        "ketuk_events_total",
        "counter",
        "Events beside the packets' results, losses among them.",
    )?;
    for counter in events {
        total.sample(&[("event", counter.name)], counter.value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_stands_below_its_help_and_type() {
        let mut status = Status::default();
        for (kind, json) in [
            (
                "daemon",
                r#"{"version":"1","uptime_seconds":5,"backend":"own","knocking":2,"clock_trusted":false}"#,
            ),
            ("device", r#"{"name":"wan0","state":"refused"}"#),
            ("door", r#"{"name":"ssh","open":3,"firewall":"missing","warning":"open"}"#),
            ("counter", r#"{"name":"opened","value":4}"#),
            ("counter", r#"{"name":"socket_drops","value":7}"#),
        ] {
            status.add(kind, json);
        }
        let mut text = String::new();
        write(&mut text, Some(&status)).unwrap();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "ketuk_up 1",
                "ketuk_info{version=\"1\",backend=\"own\"} 1",
                "ketuk_uptime_seconds 5",
                "ketuk_attempts 2",
                "ketuk_clock_trusted 0",
                "ketuk_device_listening{device=\"wan0\"} 0",
                "ketuk_grants{door=\"ssh\"} 3",
                "ketuk_door_ready{door=\"ssh\"} 0",
                "ketuk_door_warning{door=\"ssh\"} 1",
                "ketuk_packets_total{result=\"opened\"} 4",
                "ketuk_events_total{event=\"socket_drops\"} 7",
            ]
        );
        let mut text = String::new();
        write(&mut text, None).unwrap();
        assert_eq!(text, "# HELP ketuk_up Whether the daemon answers.\n# TYPE ketuk_up gauge\nketuk_up 0\n");
    }

    #[test]
    fn a_label_may_hold_anything() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
