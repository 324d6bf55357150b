//! `load`: sends the packets of the benchmarks to a port-knocking daemon, and sees doors open.
//!
//! ```text
//! load flood ...   forged packets at a given rate
//! load scan ...    a SYN to each of the 65,535 ports, in a given order
//! load knock ...   right knocks, and how long each took to open its door
//! ```
//! Arguments are `name=value`, see [`Arguments`]. Each command prints one JSON object. `run.py` calls this program.

mod arguments;
mod frame;
mod knock;
mod observer;
mod random;
mod sender;
mod socket;

use std::net::IpAddr;
use std::process::ExitCode;

use arguments::Arguments;
use frame::{Packet, Protocol};
use random::Random;
use sender::{Paced, Sender};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let result = Arguments::parse(words).and_then(|arguments| match command.as_str() {
        "flood" => flood(&arguments),
        "scan" => scan(&arguments),
        "knock" => knock::run(&arguments),
        _ => Err("load flood|scan|knock NAME=VALUE...".into()),
    });
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A fault, in words.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `load flood device= to= rate= count= [port=N|random] [proto=syn|ack|udp] [payload=BYTES] [seed=]`
fn flood(arguments: &Arguments) -> Result<String> {
    let to: IpAddr = arguments.get("to")?;
    let port = match arguments.text("port") {
        Some("random") | None => None,
        Some(_) => Some(arguments.get::<u16>("port")?),
    };
    let protocol = arguments.or("proto", Protocol::Syn)?;
    let payload = vec![b'x'; arguments.or("payload", 0)?];
    let mut random = Random::new(arguments.or("seed", 1)?);
    let mut sender = Sender::open(arguments.text("device").ok_or("device= is missing")?)?;
    let paced = Paced::run(&mut sender, arguments.get("rate")?, arguments.get("count")?, |frame, _| {
        Packet {
            source: random.source(to),
            source_port: 1024 + random.below(64_000),
            destination: to,
            port: port.unwrap_or_else(|| 1 + random.below(65_535)),
            sequence_number: random.bits(),
            protocol,
            payload: &payload,
        }
        .write(frame);
    })?;
    Ok(paced.json())
}

/// `load scan device= from= to= rate= order=up|down|SEED`
fn scan(arguments: &Arguments) -> Result<String> {
    let (source, destination): (IpAddr, IpAddr) = (arguments.get("from")?, arguments.get("to")?);
    let mut ports: Vec<u16> = (1..=u16::MAX).collect();
    match arguments.text("order") {
        Some("up") => {}
        Some("down") => ports.reverse(),
        _ => Random::new(arguments.get("order")?).shuffle(&mut ports),
    }
    let mut sender = Sender::open(arguments.text("device").ok_or("device= is missing")?)?;
    let count = ports.len() as u64;
    let paced = Paced::run(&mut sender, arguments.get("rate")?, count, |frame, index| {
        // As nmap does: one source port and sequence number for the whole scan.
        Packet {
            source,
            source_port: 40_000,
            destination,
            port: ports[usize::try_from(index).expect("an index into the ports")],
            sequence_number: 0x1234_5678,
            protocol: Protocol::Syn,
            payload: &[],
        }
        .write(frame);
    })?;
    Ok(paced.json())
}
