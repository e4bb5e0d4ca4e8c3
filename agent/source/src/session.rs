//! One conversation with a server: first what the server has, then what of that is missing here.

use std::{io, path::PathBuf, sync::Arc};

use gix::{
    ObjectId,
    progress::Discard,
    protocol::{
        self, Handshake, LsRefsCommand,
        fetch::{
            self, Arguments, Negotiate, Shallow,
            negotiate::{Action, Round, one_round},
        },
        handshake::Ref,
        ls_refs::RefPrefixes,
        transport::{Protocol, Service, client::Capabilities},
    },
};

use crate::{
    cache::shallow_file,
    credentials::Credentials,
    error::{Excess, SourceError, chain, lack, one_line},
    location::Location,
    pack,
    refs::{Found, Head, Refs},
    store::Store,
    transport::{Connection, Conversation, http, ssh},
};

/// How to reach a server.
pub(crate) struct Dial<'a> {
    pub(crate) location: &'a Location,
    pub(crate) credentials: &'a Credentials,
    pub(crate) clients: &'a http::Clients,
    pub(crate) keys_dir: PathBuf,
    pub(crate) ambient_ssh: bool,
    pub(crate) conversation: Arc<Conversation>,
}

/// An open conversation.
pub(crate) struct Session {
    connection: Connection,
    handshake: Handshake,
    conversation: Arc<Conversation>,
}

fn agent() -> protocol::command::Feature {
    (
        "agent",
        Some(concat!("pintle/", env!("CARGO_PKG_VERSION")).to_owned()),
    )
}

impl Session {
    /// Connects and logs in.
    pub(crate) fn open(dial: &Dial<'_>) -> Result<Self, SourceError> {
        let conversation = Arc::clone(&dial.conversation);
        conversation.allow(Excess::References, conversation.limits().refs);
        let mut connection = match dial.location {
            Location::Http(url) => http::connect(
                dial.clients,
                url,
                dial.credentials,
                &conversation,
                Protocol::V2,
            )?,
            Location::Ssh(address) => ssh::connect(
                address,
                dial.credentials,
                dial.ambient_ssh,
                &dial.keys_dir,
                &conversation,
                Protocol::V2,
            )?,
            Location::Local(_) => {
                return Err(SourceError::Local {
                    url: conversation.url(),
                });
            }
        };
        let handshake = protocol::handshake(
            &mut connection,
            Service::UploadPack,
            // Credentials are sent right away, where they belong: there are no others to ask for.
            |_| Ok(None),
            Vec::new(),
            &mut Discard,
        );
        let mut handshake = handshake.map_err(|error| explain(&conversation, &error))?;
        if handshake.server_protocol_version != Protocol::V2 {
            handshake.capabilities = with_absolute_depth(&handshake.capabilities);
        }
        let format = handshake.capabilities.capability("object-format");
        if let Some(format) = format.and_then(|format| format.value().map(ToString::to_string))
            && format != "sha1"
        {
            let reason = format!(
                "its objects are named by {}, which is not supported: expected sha1",
                one_line(&format)
            );
            return Err(SourceError::Url {
                url: conversation.url(),
                reason,
            });
        }
        Ok(Self {
            connection,
            handshake,
            conversation,
        })
    }

    /// Returns whether the list of references was made with the handshake, before anyone asked for it.
    pub(crate) fn listed_early(&self) -> bool {
        self.handshake.refs.is_some()
    }

    /// Returns whether the server speaks a version before 2.
    pub(crate) fn is_old(&self) -> bool {
        self.handshake.server_protocol_version != Protocol::V2
    }

    /// Lists branches and tags.
    pub(crate) fn refs(&mut self) -> Result<Refs, SourceError> {
        let refs = self.list();
        self.conversation.end_list();
        refs
    }

    fn list(&mut self) -> Result<Refs, SourceError> {
        if let Some(refs) = self.handshake.refs.take() {
            return Ok(sorted(refs));
        }
        let mut prefixes = RefPrefixes::new();
        prefixes.extend(["HEAD", "refs/heads/", "refs/tags/"].map(Into::into));
        LsRefsCommand::new(Some(prefixes), &self.handshake.capabilities, agent())
            .invoke_blocking(&mut self.connection, &mut Discard, false)
            .map(sorted)
            .map_err(|error| explain(&self.conversation, &error))
    }

    /// Fetches commits into a store. The server is told which commits are there, and leaves out what they contain.
    pub(crate) fn fetch(
        &mut self,
        store: &Store,
        wants: &[ObjectId],
        haves: Vec<ObjectId>,
        depth: &Shallow,
    ) -> Result<(), FetchError> {
        let conversation = Arc::clone(&self.conversation);
        // An old server lists all references with each handshake. They are dropped here because the permit to hold a long list
        // ends with the next line.
        self.handshake.refs = None;
        conversation.allow(Excess::Transfer, conversation.limits().pack);
        let mut negotiation = Negotiation { wants, haves };
        let mut kept = None;
        let fetched = protocol::fetch(
            &mut negotiation,
            |sent, _, _| match kept.insert(pack::keep(sent, store, &conversation)) {
                Ok(()) => Ok(true),
                // The reason is recorded; this only ends the fetch.
                Err(_) => Err(gix::Error::from_error(io::Error::other("it was not kept"))),
            },
            Discard,
            &conversation.interrupt,
            fetch::Context {
                handshake: &mut self.handshake,
                transport: &mut self.connection,
                user_agent: agent(),
                trace_packetlines: false,
            },
            fetch::Options {
                shallow_file: shallow_file(store),
                shallow: depth,
                tags: fetch::Tags::None,
                reject_shallow_remote: false,
            },
        );
        let Err(error) = fetched else { return Ok(()) };
        if let Some(failure) = conversation.failure() {
            return Err(FetchError::Known(failure));
        }
        if let Some(cause) = lack(&error) {
            let path = shallow_file(store);
            return Err(FetchError::Known(SourceError::cache(&path, cause)));
        }
        Err(match kept {
            Some(Err(error)) => error,
            // Something that makes the pack usable is missing.
            Some(Ok(())) => FetchError::Objects(chain(&error)),
            None => FetchError::Refused(chain(&error)),
        })
    }

    /// Says goodbye, so that the server does not log an error.
    pub(crate) fn close(mut self) {
        if !self.is_old() {
            // Everything that matters has been received.
            let _ = protocol::indicate_end_of_interaction(&mut self.connection, false);
        }
    }
}

/// Why a fetch failed.
#[derive(Debug, Clone)]
pub(crate) enum FetchError {
    /// The cause is known where it was noticed.
    Known(SourceError),
    /// The server refuses to send this.
    Refused(String),
    /// What the server sent cannot be used, perhaps because of what was here before.
    Objects(String),
}

impl FetchError {
    /// Returns whether it is about the requested commits, so that others may still be fetched.
    pub(crate) fn is_about_commits(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Objects(_) => true,
            // Over SSH a refusal arrives as the end of the server's process.
            Self::Known(error) => matches!(
                error,
                SourceError::Protocol { .. }
                    | SourceError::TooLarge { .. }
                    | SourceError::NoTip { .. }
            ),
        }
    }

    /// Describes what went wrong, and what helps if that is known.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Known(error) => error.to_string(),
            Self::Refused(reason) | Self::Objects(reason) => reason.clone(),
        }
    }

    pub(crate) fn into_source(self, url: String) -> SourceError {
        match self {
            Self::Known(error) => error,
            Self::Refused(reason) => SourceError::Protocol { url, reason },
            Self::Objects(reason) => SourceError::Objects { url, reason },
        }
    }
}

/// Removes `deepen-relative` from the capabilities. If a client before version 2 names it, each depth counts from what the
/// client has, and gix names everything that a server can do. Where nothing is here, the server would send the whole history
/// instead of one commit.
fn with_absolute_depth(capabilities: &Capabilities) -> Capabilities {
    let mut text = vec![0];
    for capability in capabilities.iter() {
        if capability.name() == "deepen-relative" {
            continue;
        }
        text.extend_from_slice(capability.name());
        if let Some(value) = capability.value() {
            text.push(b'=');
            text.extend_from_slice(value);
        }
        text.push(b' ');
    }
    // The last capability had no separator after it.
    text.pop_if(|last| *last == b' ');
    Capabilities::from_bytes(&text).map_or_else(|_| capabilities.clone(), |(left, _)| left)
}

fn explain(conversation: &Conversation, error: &gix::Error) -> SourceError {
    conversation
        .failure()
        .unwrap_or_else(|| SourceError::Protocol {
            url: conversation.url(),
            reason: chain(error),
        })
}

/// A request for commits that also names the commits that are here, all in one turn.
struct Negotiation<'a> {
    wants: &'a [ObjectId],
    haves: Vec<ObjectId>,
}

impl Negotiate for Negotiation<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<Action> {
        Ok(Action::MustNegotiate {
            remote_ref_target_known: Vec::new(),
        })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _: &[bool]) -> bool {
        for id in self.wants {
            arguments.want(id);
        }
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _: &mut one_round::State,
        arguments: &mut Arguments,
        previous: Option<&fetch::Response>,
    ) -> gix::Result<(Round, bool)> {
        if previous.is_some() {
            // Asking for the same again would go on until the deadline.
            return Err(gix::Error::from_error(io::Error::other(
                "it answers without objects",
            )));
        }
        for id in &self.haves {
            arguments.have(id);
        }
        let round = Round {
            haves_sent: self.haves.len(),
            in_vain: 0,
            haves_to_send: 0,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

fn sorted(found: Vec<Ref>) -> Refs {
    let mut refs = Found::default();
    // A name that cannot be written in a YAML file cannot be asked for either, and could only confuse a terminal.
    let printable = |name: &[u8]| {
        let name = std::str::from_utf8(name).ok()?;
        (!name.contains(char::is_control)).then(|| name.to_owned())
    };
    let branch_name = |name: &str| name.strip_prefix("refs/heads/").map(str::to_owned);
    for reference in found {
        // The object is the one at the end. An annotated tag is an object of its own, before it.
        let (name, object, target, tag) = match reference {
            Ref::Peeled {
                full_ref_name,
                tag,
                object,
            } => (full_ref_name, object, None, Some(tag)),
            Ref::Direct {
                full_ref_name,
                object,
            } => (full_ref_name, object, None, None),
            Ref::Symbolic {
                full_ref_name,
                target,
                tag,
                object,
            } => (full_ref_name, object, Some(target), tag),
            Ref::Unborn { .. } => continue,
        };
        let Some(name) = printable(&name) else {
            continue;
        };
        if name == "HEAD" {
            let branch = target.and_then(|target| branch_name(&printable(&target)?));
            refs.default = Some(Head {
                branch,
                commit: object,
            });
        } else if let Some(branch) = branch_name(&name) {
            refs.branches.push((branch, object));
        } else if let Some(name) = name.strip_prefix("refs/tags/") {
            refs.tags.push((name.to_owned(), object));
            if let Some(tag) = tag {
                refs.annotated.push((object, tag));
            }
        }
    }
    refs.into()
}

#[cfg(test)]
mod tests {
    use gix::protocol::transport::client::git::{
        ConnectMode, blocking_io::Connection as GitConnection,
    };

    use super::*;
    use crate::{limits::Limits, transport::tests::conversation};

    #[test]
    fn a_list_that_nobody_has_asked_for_goes_with_the_right_to_hold_it() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        gix::init_bare(dir.path()).unwrap();
        let limits = Limits::default();
        let store = Store::open(dir.path(), limits, None, Arc::default()).unwrap();
        let connection = GitConnection::new(
            io::empty(),
            io::sink(),
            Protocol::V2,
            "a.git",
            None::<(String, Option<u16>)>,
            ConnectMode::Process,
            false,
        );
        let mut session = Session {
            connection: Box::new(connection),
            handshake: Handshake {
                server_protocol_version: Protocol::V1,
                refs: Some(Vec::new()),
                ..Handshake::default()
            },
            conversation: conversation(&runtime, limits),
        };
        assert!(session.listed_early());
        session
            .fetch(&store, &[], Vec::new(), &Shallow::NoChange)
            .unwrap();
        assert!(!session.listed_early());
    }

    #[test]
    fn names_that_nobody_can_ask_for_are_left_out() {
        let direct = |name: &[u8]| Ref::Direct {
            full_ref_name: name.into(),
            object: ObjectId::null(gix::hash::Kind::Sha1),
        };
        let refs = sorted(vec![
            direct(b"refs/heads/main"),
            direct(b"refs/heads/\x1b[31m"),
            direct(b"refs/tags/caf\xe9"),
            direct(b"refs/tags/v1"),
            direct(b"refs/pull/1/head"),
            Ref::Symbolic {
                full_ref_name: "HEAD".into(),
                target: "refs/heads/a\nb".into(),
                tag: None,
                object: ObjectId::null(gix::hash::Kind::Sha1),
            },
        ]);
        assert_eq!(refs.branches.keys().collect::<Vec<_>>(), ["main"]);
        assert_eq!(refs.tags.keys().collect::<Vec<_>>(), ["v1"]);
        assert_eq!(refs.default.unwrap().branch, None);
    }

    #[test]
    fn of_an_annotated_tag_both_the_tag_and_its_commit_are_kept() {
        let id = |byte| ObjectId::from_bytes_or_panic(&[byte; 20]);
        let refs = sorted(vec![
            Ref::Peeled {
                full_ref_name: "refs/tags/v1".into(),
                tag: id(9),
                object: id(1),
            },
            Ref::Direct {
                full_ref_name: "refs/tags/v2".into(),
                object: id(2),
            },
        ]);
        assert_eq!(refs.tips(), [id(1), id(2)]);
        assert_eq!(refs.listed(&refs.tips()), [id(2), id(9)]);
    }
}
