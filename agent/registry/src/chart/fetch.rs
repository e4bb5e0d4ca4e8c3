//! Fetches archives from the cache or the network, within the room that all share, and without holding a large one in memory.

use pintle_core::digest::Digest;
use reqwest::Response;

use super::{
    archive::Layout,
    incoming::{Arrived, Incoming},
    packed::Archive,
};
use crate::{
    cache::Readers,
    content::Content,
    error::{Cause, Part},
    manifest::FilesManifest,
    registry::{Registry, blocking},
    session::Session,
};

impl Registry {
    /// Downloads the archive that a manifest names, or takes it from the cache, and verifies it.
    pub(crate) async fn fetch_archive(
        &self,
        session: &Session<'_>,
        readers: Readers,
        manifest: &FilesManifest,
    ) -> Result<Archive, Cause> {
        let part = Part::Archive;
        let (digest, declared) = (manifest.layer.digest, manifest.layer.size);
        let layout = manifest.layout;
        if let Some(kept) = self.kept_archive(readers, digest, layout).await? {
            return Ok(kept);
        }
        self.shared.archives.check_room(declared)?;
        let response = self.ask_for_blob(session, part, digest).await?;
        let (incoming, has_ended) = self.take_archive(response, declared).await?;
        let got = incoming.size();
        if !has_ended || got != declared {
            return Err(Cause::Size {
                part,
                declared,
                got,
                more: !has_ended,
            });
        }
        let (incoming, got) = incoming.digest().await?;
        if got != digest {
            return Err(Cause::Digest {
                part,
                expected: digest,
                got,
            });
        }
        self.keep_archive(readers, incoming, digest, layout).await
    }

    /// Returns the archive with this digest if it was fetched for the same readers before.
    pub(super) async fn kept_archive(
        &self,
        readers: Readers,
        digest: Digest,
        layout: Layout,
    ) -> Result<Option<Archive>, Cause> {
        let Some(cache) = self.cache.clone() else {
            return Ok(None);
        };
        let limit = self.transport.options.max_archive;
        let open = move || cache.of(readers).open(digest, limit);
        let Some(content) = blocking(open).await else {
            return Ok(None);
        };
        let archives = &self.shared.archives;
        archives.share(digest, layout, content, None).map(Some)
    }

    /// Receives an archive until it ends or exceeds the limit, and returns whether it has ended. If the announced size is larger
    /// than the room that there is, the archive is refused at once.
    pub(super) async fn take_archive(
        &self,
        response: Response,
        limit: u64,
    ) -> Result<(Incoming, bool), Cause> {
        let cache = self.cache.as_ref().map(|cache| cache.dir().to_owned());
        let archives = &self.shared.archives;
        // A size above the limit is not checked here: it is refused for exceeding the limit.
        if let Some(size) = response.content_length()
            && size <= limit
        {
            archives.check_room(size)?;
        }
        let spool = archives.spool(cache);
        Incoming::take(&self.transport, response, limit, spool).await
    }

    /// Keeps an archive that was downloaded and verified, and returns it, or the equal one that others hold. If the archive has a
    /// named file and the cache accepts it, the file belongs to the cache from then on, even if there is no room to hold the
    /// archive: the next attempt finds it there.
    pub(super) async fn keep_archive(
        &self,
        readers: Readers,
        incoming: Incoming,
        digest: Digest,
        layout: Layout,
    ) -> Result<Archive, Cause> {
        let Arrived {
            content,
            name,
            share,
        } = incoming.arrived();
        let content = match self.cache.clone() {
            Some(cache) => {
                let keep = move || {
                    let cache = cache.of(readers);
                    match (name, &content) {
                        (Some(name), _) => cache.adopt(digest, name, content.size()),
                        (None, Content::Memory(bytes)) => cache.put(digest, bytes),
                        // The cache's folder could not take all of it.
                        (None, Content::File(..)) => {}
                    }
                    content
                };
                blocking(keep).await
            }
            None => content,
        };
        self.shared.archives.share(digest, layout, content, share)
    }
}
