//! The opener of a grant, as the comment of its element names it.

use crate::config::MAX_NAME;

/// `NFTNL_UDATA_SET_ELEM_COMMENT`: the type under which nft stores an element's comment in its user data.
const ELEMENT_COMMENT: u8 = 0;
/// The type of ketuk's own entry in user data. nft and libnftnl skip types that they do not know.
const ELEMENT_SECRETS: u8 = b'k';

/// The texts of the comments.
const USER: &str = "user ";
const HAND: &str = "hand";

/// Longest user data, in bytes: a comment that names a user, and the number of the user's secrets.
const MAX_USER_DATA: usize = 2 + USER.len() + MAX_NAME + 1 + 2 + 4;

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

impl<'a> OpenedBy<'a> {
    /// Reads an element's user data. Comments of other programs count as none.
    pub(super) fn read(user_data: &'a [u8]) -> Self {
        let find = |wanted| UserData(user_data).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload);
        let Some(text) = find(ELEMENT_COMMENT) else { return Self::Knock };
        let secrets = find(ELEMENT_SECRETS).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        match core::str::from_utf8(text.strip_suffix(b"\0").unwrap_or(text)) {
            Ok(HAND) => Self::Hand,
            Ok(text) => match text.strip_prefix(USER) {
                Some(name) if !name.is_empty() => Self::User(name, SecretsId(secrets.unwrap_or(0))),
                _ => Self::Knock,
            },
            Err(_) => Self::Knock,
        }
    }

    /// An element's user data, in the form that nft prints as its comment; empty without a comment.
    pub(super) fn user_data(self) -> heapless::Vec<u8, MAX_USER_DATA> {
        let mut data = heapless::Vec::new();
        let (parts, secrets) = match self {
            Self::Knock => return data,
            Self::User(name, secrets) => ([USER, name], Some(secrets)),
            Self::Hand => ([HAND, ""], None),
        };
        let len = parts[0].len() + parts[1].len() + 1;
        let header = [ELEMENT_COMMENT, u8::try_from(len).unwrap_or(u8::MAX)];
        let comment = [&header, parts[0].as_bytes(), parts[1].as_bytes(), b"\0"];
        let id = secrets.map(|SecretsId(id)| {
            let [a, b, c, d] = id.to_be_bytes();
            [ELEMENT_SECRETS, 4, a, b, c, d]
        });
        let mut parts = comment.into_iter().chain(id.iter().map(|id| &id[..]));
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
