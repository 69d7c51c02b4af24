//! Answers that a 304 lets us use again; bounded, oldest out first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::transport::Reply;

const MAX_ENTRIES: usize = 1000;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Answers by path. GitHub's validators hold only for the token that they were given to.
#[derive(Default)]
pub(super) struct Cache {
    generation: u64,
    entries: HashMap<String, Arc<Reply>>,
    oldest: VecDeque<String>,
    bytes: usize,
}

impl Cache {
    pub(super) fn get(&self, path: &str, generation: u64) -> Option<Arc<Reply>> {
        let known = self.entries.get(path)?;
        (self.generation == generation).then(|| Arc::clone(known))
    }

    /// Keeps an answer that was understood, if it has a validator.
    pub(super) fn keep(&mut self, path: &str, generation: u64, reply: &Arc<Reply>) {
        if self.generation != generation {
            *self = Cache { generation, ..Cache::default() };
        }
        if reply.etag().is_none() || reply.body.len() > MAX_BYTES / 4 {
            return;
        }
        self.bytes += reply.body.len();
        match self.entries.insert(path.to_owned(), Arc::clone(reply)) {
            Some(old) => self.bytes -= old.body.len(),
            None => self.oldest.push_back(path.to_owned()),
        }
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(path) = self.oldest.pop_front() else { break };
            let old = self.entries.remove(&path);
            self.bytes -= old.map_or(0, |old| old.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn reply(bytes: usize) -> Arc<Reply> {
        let mut headers = HeaderMap::new();
        headers.insert("etag", "W/\"1\"".parse().unwrap());
        Arc::new(Reply { status: 200, headers, body: vec![0; bytes] })
    }

    #[test]
    fn another_token_voids_everything() {
        let mut cache = Cache::default();
        cache.keep("/a", 1, &reply(1));
        assert!(cache.get("/a", 1).is_some() && cache.get("/a", 2).is_none());
        cache.keep("/b", 2, &reply(1));
        assert!(cache.get("/a", 1).is_none() && cache.get("/b", 2).is_some());
    }

    #[test]
    fn bounded_in_number_and_bytes() {
        let mut cache = Cache::default();
        for at in 0..MAX_ENTRIES + 5 {
            cache.keep(&format!("/{at}"), 1, &reply(1));
        }
        assert_eq!((cache.entries.len(), cache.bytes), (MAX_ENTRIES, MAX_ENTRIES));
        assert!(cache.get("/4", 1).is_none() && cache.get("/5", 1).is_some());
        for at in 0..10 {
            cache.keep(&format!("/big{at}"), 1, &reply(MAX_BYTES / 5));
        }
        assert!(cache.bytes <= MAX_BYTES && cache.get("/big9", 1).is_some());
        cache.keep(
            "/none",
            1,
            &Arc::new(Reply { status: 200, headers: HeaderMap::new(), body: vec![] }),
        );
        assert!(cache.get("/none", 1).is_none());
    }
}
