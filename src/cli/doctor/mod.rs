//! `ketukd doctor`: looks for the usual faults on this host and in the daemon that runs on it.

mod finding;
mod firewall;
mod hosts;
mod knocks;
mod network;
mod ports;
mod setup;
mod subject;

use super::arguments::Arguments;
use super::{CommandResult, Failure, control, print};
use finding::Point;
use subject::Subject;

/// Prints what is wrong. If anything is, the command fails.
pub(super) fn doctor(arguments: &Arguments) -> CommandResult {
    let points = examine(arguments)?;
    if arguments.json {
        print(&format!("{}\n", json(&points)))?;
    } else {
        print(&points.iter().map(Point::text).collect::<String>())?;
    }
    match points.iter().filter(|point| point.is_wrong()).count() {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 point is wrong".to_owned())),
        wrong => Err(Failure::Failed(format!("{wrong} points are wrong"))),
    }
}

/// The same as one JSON object, for the web page.
pub(super) fn examination(arguments: &Arguments) -> Result<String, Failure> {
    examine(arguments).map(|points| json(&points))
}

fn json(points: &[Point]) -> String {
    let is_wrong = points.iter().any(Point::is_wrong);
    let points: Vec<_> = points.iter().map(Point::json).collect();
    format!(r#"{{"ok":true,"wrong":{is_wrong},"points":[{}]}}"#, points.join(","))
}

/// Looks at every point.
fn examine(arguments: &Arguments) -> Result<Vec<Point>, Failure> {
    let from = arguments.from.as_deref().map(control::address).transpose()?;
    let subject = Subject::new(arguments);
    let firewall = firewall::Firewall::look(&subject);
    let mut points = vec![
        Point::new("configuration", setup::configuration(&subject)),
        Point::new("rights", setup::rights()),
        Point::new("daemon", setup::daemon(&subject)),
        Point::new("devices", network::devices(&subject)),
        Point::new("addresses", network::addresses(&subject)),
        Point::new("services", ports::services(&subject)),
        Point::new("traps", ports::traps(&subject)),
        Point::new("open_ports", firewall.open_ports()),
        Point::new("firewall", firewall.sets_and_rules(&subject)),
        Point::new("hosts", hosts::hosts(&subject)),
        Point::new("clock", knocks::clock(&subject)),
        Point::new("knocks", knocks::heard(&subject)),
    ];
    if let Some(from) = from {
        points.push(Point::new("from", knocks::from(&subject, from)));
    }
    Ok(points)
}
