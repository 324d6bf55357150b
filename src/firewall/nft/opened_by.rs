//! What an element's user data tells: the opener of the grant, as its comment, and whether only connections hold it open.

use crate::config::MAX_NAME;

/// `NFTNL_UDATA_SET_ELEM_COMMENT`: the type under which nft stores an element's comment in its user data.
const ELEMENT_COMMENT: u8 = 0;
/// The type of ketuk's own entry in user data. nft and libnftnl skip types that they do not know.
const ELEMENT_SECRETS: u8 = b'k';
/// The type of ketuk's own entry, without a payload, that marks the timer of a session.
const ELEMENT_HELD: u8 = b'h';

/// The texts of the comments.
const USER: &str = "user ";
const HAND: &str = "hand";

/// Longest user data, in bytes: a comment that names a user, the number of the user's secrets, and the mark of a session.
const MAX_USER_DATA: usize = 2 + USER.len() + MAX_NAME + 1 + 2 + 4 + 2;

/// A number that stands for a user's secrets and does not reveal them; 0 if it is unknown. If the number differs at the next
/// start, the secret is gone, and the grant ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretsId(pub u32);

/// The opener of a grant, as the element's comment names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy<'a> {
    /// A stranger who knocked the sequence. There is no comment.
    Knock,
    /// A user. The comment is `user NAME`, and the number of the user's secrets is stored beside it.
    User(&'a str, SecretsId),
    /// The operator. The comment is `hand`.
    Hand,
}

/// What an element tells a daemon that is started later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementNote<'a> {
    /// The opener of the grant.
    pub by: OpenedBy<'a>,
    /// Whether the grant's time is over, and only the knocker's connections hold the door open.
    pub is_held: bool,
}

impl<'a> From<OpenedBy<'a>> for ElementNote<'a> {
    fn from(by: OpenedBy<'a>) -> Self {
        Self { by, is_held: false }
    }
}

impl<'a> ElementNote<'a> {
    /// Reads an element's user data. Comments of other programs count as none.
    pub(super) fn read(user_data: &'a [u8]) -> Self {
        let find = |wanted| UserData(user_data).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload);
        let secrets = find(ELEMENT_SECRETS).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let text = find(ELEMENT_COMMENT).map(|text| text.strip_suffix(b"\0").unwrap_or(text));
        let by = match text.and_then(|text| core::str::from_utf8(text).ok()) {
            Some(HAND) => OpenedBy::Hand,
            Some(text) => match text.strip_prefix(USER) {
                Some(name) if !name.is_empty() => OpenedBy::User(name, SecretsId(secrets.unwrap_or(0))),
                _ => OpenedBy::Knock,
            },
            None => OpenedBy::Knock,
        };
        Self { by, is_held: find(ELEMENT_HELD).is_some() }
    }

    /// An element's user data, whose comment nft prints; empty if there is nothing to tell.
    pub(super) fn user_data(self) -> heapless::Vec<u8, MAX_USER_DATA> {
        let mut data = heapless::Vec::new();
        let (parts, secrets) = match self.by {
            OpenedBy::Knock => (None, None),
            OpenedBy::User(name, secrets) => (Some([USER, name]), Some(secrets)),
            OpenedBy::Hand => (Some([HAND, ""]), None),
        };
        let len = parts.map_or(0, |[first, second]| first.len() + second.len() + 1);
        let header = [ELEMENT_COMMENT, u8::try_from(len).unwrap_or(u8::MAX)];
        let comment = parts.map(|[first, second]| [&header[..], first.as_bytes(), second.as_bytes(), b"\0"]);
        let id = secrets.map(|SecretsId(id)| {
            let [a, b, c, d] = id.to_be_bytes();
            [ELEMENT_SECRETS, 4, a, b, c, d]
        });
        let held = self.is_held.then_some([ELEMENT_HELD, 0]);
        let own = id.iter().map(|id| &id[..]).chain(held.iter().map(|held| &held[..]));
        let mut parts = comment.into_iter().flatten().chain(own);
        if parts.any(|part| data.extend_from_slice(part).is_err()) {
            // No user has such a long name, so nothing is written.
            data.clear();
        }
        data
    }
}

/// The attributes in user data (libnftnl's `udata`): type, length, payload.
struct UserData<'a>(&'a [u8]);

impl<'a> Iterator for UserData<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, len], rest) = self.0.split_first_chunk()?;
        let (payload, rest) = rest.split_at_checked(len.into())?;
        self.0 = rest;
        Some((kind, payload))
    }
}
