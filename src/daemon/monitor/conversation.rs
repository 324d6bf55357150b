//! The packet side's questions to the monitor, and the monitor's answers.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use log::error;
use nix::errno::Errno;

use super::agreement::Agreement;
use super::link::{Link, ReceivedMessage};
use super::message::{MalformedMessage, MonitorRequest, Reply, RunId, ScriptEvent};
use crate::core::sequence::Sequence;
use crate::daemon::hotplug::event::HotplugEvent;
use crate::daemon::jobs::Running;
use crate::linux::process::Exit;

/// The packet side's end of the conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    link: Rc<Link>,
    /// The configuration that both have read.
    pub(super) agreement: Agreement,
    last_id: u32,
    /// Programs that have ended, until they are asked for.
    ended: Vec<(RunId, Exit)>,
    /// The output of programs, until it is asked for.
    printed: Vec<(RunId, Vec<u8>)>,
    /// The file that came last, until it is taken.
    file: Option<File>,
    /// The line that came last, until it is taken.
    line: Option<(u64, Sequence)>,
    is_lost: bool,
}

/// A program that the monitor runs.
#[derive(Debug)]
pub(in crate::daemon) struct RemoteProgram {
    id: RunId,
    conversation: Rc<RefCell<Conversation>>,
}

/// The way to the monitor for calling scripts.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Caller(Rc<RefCell<Conversation>>);

/// An event for which the monitor is to run scripts.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct ScriptCall(ScriptEvent);

impl Caller {
    /// The way to the monitor at the other end of this conversation.
    pub(super) fn new(conversation: &Rc<RefCell<Conversation>>) -> Self {
        Self(Rc::clone(conversation))
    }

    /// The message about an event; `None` if its door is in neither of the last two configurations.
    pub(in crate::daemon) fn about(&self, event: &HotplugEvent<'_>) -> Option<ScriptCall> {
        let HotplugEvent { is_open, door, passage, left, user } = *event;
        let conversation = self.0.borrow();
        let agreement = &conversation.agreement;
        let user = user.and_then(|user| agreement.find_user(user));
        Some(ScriptCall(ScriptEvent { is_open, door: agreement.find_old(door)?, passage, left, user }))
    }

    /// Starts the scripts for an event.
    ///
    /// # Errors
    /// They cannot be started, or the monitor is gone.
    pub(in crate::daemon) fn spawn(&self, ScriptCall(event): ScriptCall) -> io::Result<RemoteProgram> {
        let id = self.0.borrow_mut().ask(|id| MonitorRequest::Call { id, event })?;
        Ok(RemoteProgram::new(id, &self.0))
    }
}

#[cfg(test)]
impl Caller {
    /// The way to a monitor that knows door 'a', starts one program and says no more, and the other end of that way.
    pub(in crate::daemon) fn to_nobody() -> (Self, Box<dyn std::any::Any>) {
        let text = b"config door a\nlist sequence 1\noption dest_port 1\n";
        let config = crate::config::parse("test", text).expect("a configuration");
        let (ours, theirs) = Link::pair().expect("a pair of sockets");
        theirs.send(&Reply::Answer(RunId(1), Ok(())).encode()).expect("sent");
        let conversation = Conversation::new(Rc::new(ours), Agreement::begin(&config));
        (Self::new(&Rc::new(RefCell::new(conversation))), Box::new(theirs))
    }
}

impl RemoteProgram {
    /// The program that the monitor has started under this number.
    pub(super) fn new(id: RunId, conversation: &Rc<RefCell<Conversation>>) -> Self {
        Self { id, conversation: Rc::clone(conversation) }
    }
}

impl Conversation {
    /// A conversation over this socket.
    pub(super) fn new(link: Rc<Link>, agreement: Agreement) -> Self {
        Self {
            link,
            agreement,
            last_id: 0,
            ended: Vec::new(),
            printed: Vec::new(),
            file: None,
            line: None,
            is_lost: false,
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The monitor's own answer, or the monitor is gone.
    pub(super) fn ask(&mut self, request: impl FnOnce(RunId) -> MonitorRequest) -> io::Result<RunId> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let id = RunId(self.last_id);
        self.send(&request(id));
        self.wait_for(id)
    }

    /// Waits for the answer to this request.
    fn wait_for(&mut self, id: RunId) -> io::Result<RunId> {
        while !self.is_lost {
            if let Some(answer) = self.receive(id) {
                return answer.map(|()| id).map_err(io::Error::from_raw_os_error);
            }
            // After a message that means nothing, no other is waited for.
            if !self.is_lost
                && let Err(error) = self.link.wait_for_message()
            {
                self.lose(&error.to_string());
            }
        }
        Err(Errno::EPIPE.into())
    }

    /// Sends a request that has no answer.
    pub(super) fn send(&mut self, request: &MonitorRequest) {
        if let Err(error) = self.link.send(&request.encode()) {
            self.lose(&error.to_string());
        }
    }

    /// Reads until the answer to this question, or until there is nothing more.
    fn receive(&mut self, asked: RunId) -> Option<Result<(), i32>> {
        while !self.is_lost {
            let reply = match self.link.receive_file(&mut self.file) {
                ReceivedMessage::Message(bytes) => Reply::decode(&bytes),
                ReceivedMessage::Nothing => return None,
                ReceivedMessage::Malformed => Err(MalformedMessage),
                ReceivedMessage::Gone => {
                    self.lose("it has ended");
                    return None;
                }
            };
            match reply {
                Ok(Reply::Answer(id, answer)) if id == asked => return Some(answer),
                Ok(Reply::Printed(id, words)) => self.add_printed(id, &words),
                Ok(Reply::Ended(id, exit)) => self.ended.push((id, exit)),
                Ok(Reply::Line(id, offset, sequence)) if id == asked => self.line = Some((offset, sequence)),
                // Questions are asked one at a time.
                Ok(Reply::Answer(..) | Reply::Line(..)) | Err(_) => {
                    self.lose("it has sent a message that means nothing");
                }
            }
        }
        None
    }

    /// Reads what the monitor has sent.
    pub(super) fn receive_all(&mut self) {
        // No question has this number.
        let _ = self.receive(RunId(0));
    }

    /// Takes the file that came with the last answer.
    pub(super) const fn take_file(&mut self) -> Option<File> {
        self.file.take()
    }

    /// Takes the line that came before the last answer.
    pub(super) const fn take_line(&mut self) -> Option<(u64, Sequence)> {
        self.line.take()
    }

    fn add_printed(&mut self, id: RunId, words: &[u8]) {
        match self.printed.iter_mut().find(|(of, _)| *of == id) {
            Some((_, text)) => text.extend_from_slice(words),
            None => self.printed.push((id, words.to_vec())),
        }
    }

    /// Takes the output of a program.
    fn take_printed(&mut self, id: RunId) -> Vec<u8> {
        let at = self.printed.iter().position(|(of, _)| *of == id);
        at.map(|at| self.printed.swap_remove(at).1).unwrap_or_default()
    }

    /// How a program has ended, if it has.
    fn end_of(&mut self, id: RunId) -> io::Result<Option<Exit>> {
        match self.ended.iter().position(|(ended, _)| *ended == id) {
            Some(at) => Ok(Some(self.ended.swap_remove(at).1)),
            None if self.is_lost => Err(Errno::EPIPE.into()),
            None => Ok(None),
        }
    }

    /// Whether the monitor is gone.
    pub(super) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    fn lose(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            error!("the process that runs commands is lost: {why}");
        }
    }
}

impl Running for RemoteProgram {
    fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        self.conversation.borrow_mut().end_of(self.id)
    }

    fn kill(&mut self) {
        self.conversation.borrow_mut().send(&MonitorRequest::Kill(self.id));
    }

    /// The monitor reads it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn take_printed(&mut self) -> Vec<u8> {
        self.conversation.borrow_mut().take_printed(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks one question, to which the monitor has answered this.
    fn asked(replies: &[Reply]) -> (io::Result<RunId>, Conversation) {
        let (ours, theirs) = Link::pair().expect("a pair of sockets");
        for reply in replies {
            theirs.send(&reply.encode()).expect("sent");
        }
        let mut conversation = Conversation::new(Rc::new(ours), Agreement::default());
        (conversation.ask(|id| MonitorRequest::LookForRules { id }), conversation)
    }

    #[test]
    fn an_answer_to_another_question_ends_the_conversation() {
        let (id, other) = (RunId(1), RunId(2));
        let line = |id| Reply::Line(id, 5, Sequence::new());
        let (answer, mut conversation) = asked(&[line(id), Reply::Answer(id, Ok(()))]);
        assert_eq!(answer.expect("an answer"), id);
        assert!(conversation.take_line().is_some_and(|(offset, _)| offset == 5));
        for wrong in [vec![Reply::Answer(other, Ok(()))], vec![line(other), Reply::Answer(id, Ok(()))]] {
            let begun = std::time::Instant::now();
            let (answer, conversation) = asked(&wrong);
            assert!(begun.elapsed().as_secs() < 10, "no other message was waited for");
            assert_eq!(answer.expect_err("no answer").raw_os_error(), Some(libc::EPIPE));
            assert!(conversation.is_lost());
        }
    }

    #[test]
    fn the_end_of_a_program_is_lost_with_the_monitor() {
        let (id, ended) = (RunId(1), RunId(7));
        let (_, conversation) = asked(&[Reply::Ended(ended, Exit::Code(3)), Reply::Answer(id, Ok(()))]);
        let conversation = Rc::new(RefCell::new(conversation));
        let [mut done, mut runs] = [ended, RunId(8)].map(|id| RemoteProgram::new(id, &conversation));
        assert_eq!(done.try_wait().expect("known"), Some(Exit::Code(3)));
        assert_eq!(runs.try_wait().expect("known"), None);
        conversation.borrow_mut().lose("a test");
        runs.try_wait().expect_err("nobody knows");
    }
}
