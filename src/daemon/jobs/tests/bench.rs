//! A queue and a fake system under it, whose programs end when the test says so.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use crate::daemon::jobs::*;
use crate::linux::process::Exit;

/// The fake system's answer to the start of a program.
pub(super) type Fate = io::Result<Option<Exit>>;

pub(super) const OK: Fate = Ok(Some(Exit::Code(0)));
pub(super) const HANGS: Fate = Ok(None);

/// How a fake program ended; `None` while it runs.
pub(super) type ExitCell = Rc<Cell<Option<Exit>>>;

#[derive(Debug)]
pub(super) struct Fake(ExitCell, Rc<RefCell<Vec<ExitCell>>>);

impl Running for Fake {
    fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.0.get())
    }

    fn kill(&mut self) {
        self.1.borrow_mut().push(Rc::clone(&self.0));
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Fake programs print a line when a signal ends them.
    fn take_printed(&mut self) -> Vec<u8> {
        let words: &[u8] = if matches!(self.0.get(), Some(Exit::Signal(_))) { b"no room\n" } else { b"" };
        words.to_vec()
    }
}

/// A queue and the system under it.
pub(super) struct Bench {
    pub(super) jobs: Jobs,
    pub(super) now: Instant,
    /// The last word of each started program's command line.
    pub(super) started: Vec<String>,
    /// For each job whose last rule has ended, whether all rules of it succeeded.
    pub(super) ruled: Vec<bool>,
    /// The program that started last.
    ending: ExitCell,
    /// All programs, in the order of `started`.
    endings: Vec<ExitCell>,
    /// Programs that were killed and have not ended yet.
    pub(super) killed: Rc<RefCell<Vec<ExitCell>>>,
}

impl Bench {
    pub(super) fn new(iptables: bool) -> Self {
        Self {
            jobs: Jobs::new(iptables.then(Iptables::default)),
            now: Instant::from_millis(1_000_000),
            started: Vec::new(),
            ruled: Vec::new(),
            ending: ExitCell::default(),
            endings: Vec::new(),
            killed: Rc::default(),
        }
    }

    pub(super) fn push(&mut self, door: &Rc<Door>, host: u8, kind: JobKind) {
        let ticket = Ticket::default();
        let job = Job { door: Rc::clone(door), passage: address(host), kind, lease: None, ticket };
        self.jobs.push(job).unwrap();
    }

    /// Runs the queue. `fate` answers the start of each program.
    pub(super) fn run(&mut self, mut fate: impl FnMut(&str) -> Fate) -> Vec<String> {
        let reports = self.jobs.run(self.now, &mut |order| {
            let argv = order.argv;
            let words = if argv[0] == "/bin/sh" { argv[2].clone() } else { argv.join(" ") };
            // A start that failed must not look like a running program.
            let fate = fate(&words)?;
            self.started.push(words);
            self.ending = Rc::new(Cell::new(fate));
            self.endings.push(Rc::clone(&self.ending));
            Ok(Box::new(Fake(Rc::clone(&self.ending), Rc::clone(&self.killed))))
        });
        self.ruled.extend(reports.iter().filter_map(|report| match report.event {
            JobEvent::Ruled(done) => Some(done),
            _ => None,
        }));
        let is_told = |report: &&Report| !matches!(report.event, JobEvent::Ruled(_));
        reports.iter().filter(is_told).map(ToString::to_string).collect()
    }

    /// Ends the program that started last.
    pub(super) fn end(&self, exit: Exit) {
        self.ending.set(Some(exit));
    }

    /// Ends the program with this number.
    pub(super) fn end_of(&self, number: usize) {
        self.endings[number].set(Some(Exit::Code(0)));
    }
}

pub(super) fn address(host: u8) -> Passage {
    IpAddr::from([192, 0, 2, host]).into()
}
