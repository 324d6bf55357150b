//! `ketukd explain`: judges the knocks in a capture file with the same core as the daemon.

use std::fmt::Write as _;
use std::fs::File;
use std::hash::RandomState;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::PoisonError;

use super::arguments::Arguments;
use super::capture::{Capture, Packet};
use super::{Failure, Outcome, control};
use crate::core::counters::Judged;
use crate::core::door::DoorId;
use crate::core::engine::{Engine, Judgement};
use crate::core::packet::{self, Probe};
use crate::core::place::{OwnAddress, Via};
use crate::core::time::Instant;
use crate::daemon::one_time;
use crate::daemon::run::TABLES;
use crate::daemon::slots::{Slots, never_traps};
use crate::linux::links::own_addresses;

/// Largest capture file, in bytes. The whole file is read into memory.
const MAX_CAPTURE: u64 = 64 * 1024 * 1024;

/// Prints each knock as [`super::control::watch`] does, and a count of all packets on standard error.
pub(super) fn print(arguments: &Arguments) -> Outcome {
    let config = arguments.config()?;
    let (name, mut file) = (&arguments.operands[0], Vec::new());
    File::open(name)
        .and_then(|opened| opened.take(MAX_CAPTURE + 1).read_to_end(&mut file))
        .map_err(|error| Failure::Failed(format!("cannot read {name}: {error}")))?;
    if file.len() as u64 > MAX_CAPTURE {
        return Err(Failure::Failed(format!("{name}: larger than 64 MiB: cut out a part, or filter it")));
    }
    let capture = Capture::new(&file).map_err(|problem| Failure::Failed(format!("{name}: {problem}")))?;

    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut engine = Engine::new(&mut tables, RandomState::new());
    let slots = Slots::default().with(&config);
    let mut knocks = slots.knocks();
    for (id, door) in slots.iter() {
        let (Some(file), Some(Some(knock))) = (&door.one_time, knocks.get_mut(id.index())) else { continue };
        let line = one_time::next_line(file)
            .map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
        knock.sequence = line.map(|line| line.sequence).unwrap_or_default();
    }
    engine
        .set_doors(&knocks, &never_traps(&config))
        .map_err(|_| Failure::Failed("the doors name too many different ports".to_owned()))?;
    let own: Vec<_> = addresses(arguments, &capture)?.into_iter().map(OwnAddress::from).collect();
    engine.set_addresses(&own);
    let steps = |id: DoorId| {
        knocks.get(id.index()).map_or(0, |door| door.iter().map(|door| door.sequence.len()).sum())
    };

    let (mut counts, mut clock, mut begin) = (Vec::new(), 0, None);
    for Packet { at_ms, bytes } in capture.packets() {
        // The core's clock never goes back, even if the times in the file do.
        clock = at_ms.saturating_sub(*begin.get_or_insert(at_ms)).max(clock);
        let now = Instant::from_millis(clock);
        engine.expire(now, |_| {});
        let probe = match packet::parse(bytes) {
            Ok(probe) => probe,
            Err(reason) => {
                count(&mut counts, reason.name());
                continue;
            }
        };
        // Over which device it came in, the file does not say.
        if !engine.is_plausible(&probe, Via::Any) {
            count(&mut counts, Judged::Implausible.name());
            continue;
        }
        let judgement = engine.judge(now, &probe);
        count(&mut counts, judgement.judged.name());
        if engine.is_step(&probe) {
            super::print(&lines(&probe, &judgement, &slots, steps))?;
        }
    }
    counts.sort_unstable();
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    eprintln!("packets: {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") });
    Ok(())
}

/// One more packet of this name.
fn count(counts: &mut Vec<(&str, u64)>, name: &'static str) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, packets)) => *packets += 1,
        None => counts.push((name, 1)),
    }
}

/// What `ketukd watch` says of a judgement.
fn lines(probe: &Probe, judgement: &Judgement, slots: &Slots, steps: impl Fn(DoorId) -> usize) -> String {
    let (address, transport) = (probe.source, probe.transport);
    let knock = format!("{address} {}:{}", transport.port(), transport.protocol());
    let mut text = String::new();
    if judgement.verdicts.is_empty() {
        let _ = writeln!(text, "{knock} - {}", judgement.judged.name());
    }
    for verdict in &judgement.verdicts {
        let Some(door) = slots.get(verdict.door) else { continue };
        let (stage, steps) = (verdict.stage, steps(verdict.door));
        let _ = writeln!(text, "{knock} {} {stage}/{steps} {}", door.name, verdict.judged.name());
    }
    text
}

/// The addresses at which knocks count: those of `--address`, or else of this host. If no packet is for this host, the
/// capture comes from another host, and all destinations count.
fn addresses(arguments: &Arguments, capture: &Capture<'_>) -> Result<Vec<IpAddr>, Failure> {
    if !arguments.addresses.is_empty() {
        return arguments.addresses.iter().map(|address| control::address(address)).collect();
    }
    let mut destinations: Vec<_> = capture
        .packets()
        .filter_map(|packet| packet::parse(packet.bytes).ok())
        .map(|probe| probe.destination)
        .collect();
    destinations.sort_unstable();
    destinations.dedup();
    let own: Vec<_> = own_addresses().map(Iterator::collect).unwrap_or_default();
    if destinations.is_empty() || destinations.iter().any(|destination| own.contains(destination)) {
        return Ok(own);
    }
    eprintln!(
        "no packet is to an address of this host: knocks to all destinations are judged; see --address"
    );
    Ok(destinations)
}
