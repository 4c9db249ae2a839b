//! How a follower's fetch session learns which of its partitions have news, without looking at the others.
//!
//! Key types: [`Bell`] (one a session), [`Bells`] (one a partition). A partition that has not been looked at since it rang does not ring
//! again, so a busy partition costs a flag, and an idle one nothing at all.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A session's list of places that have news.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    news: Mutex<Vec<u32>>,
    loud: Notify,
}

impl Bell {
    /// Takes the places that have news.
    pub(crate) fn take(&self, into: &mut Vec<u32>) {
        into.append(&mut self.news.lock());
    }

    /// Waits for news that must not wait: records, errors.
    pub(crate) async fn rung(&self) {
        self.loud.notified().await;
    }
}

/// One session's interest in a partition.
#[derive(Debug)]
struct Watch {
    bell: Arc<Bell>,
    place: u32,
    noted: bool,
    rung: bool,
}

/// The sessions that follow one partition.
#[derive(Debug, Default)]
pub(super) struct Bells {
    watches: Vec<Watch>,
}

impl Bells {
    /// Adds a session that knows the partition as `place`.
    pub(super) fn add(&mut self, bell: &Arc<Bell>, place: u32) {
        self.remove(bell);
        self.watches.push(Watch { bell: Arc::clone(bell), place, noted: false, rung: false });
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, bell: &Arc<Bell>) {
        self.watches.retain(|watch| !Arc::ptr_eq(&watch.bell, bell));
    }

    /// The session looks now: the next news is told again.
    pub(super) fn looked(&mut self, bell: &Arc<Bell>) {
        for watch in &mut self.watches {
            if Arc::ptr_eq(&watch.bell, bell) {
                (watch.noted, watch.rung) = (false, false);
            }
        }
    }

    /// There are records, or something that followers must hear of at once.
    #[inline]
    pub(super) fn ring(&mut self) {
        for watch in self.watches.iter_mut().filter(|watch| !watch.rung) {
            watch.rung = true;
            watch.note();
            watch.bell.loud.notify_one();
        }
    }

    /// The high watermark moved: followers hear of it with the next answer.
    #[inline]
    pub(super) fn note(&mut self) {
        self.watches.iter_mut().for_each(Watch::note);
    }
}

impl Watch {
    fn note(&mut self) {
        if !self.noted {
            self.noted = true;
            self.bell.news.lock().push(self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_told_once_until_it_is_looked_at() {
        let (bell, mut bells) = (Arc::<Bell>::default(), Bells::default());
        bells.add(&bell, 7);
        let take = || {
            let mut news = Vec::new();
            bell.take(&mut news);
            news
        };
        bells.note();
        bells.ring();
        bells.ring();
        assert_eq!(take(), [7]);
        bells.ring();
        assert_eq!(take(), [] as [u32; 0], "nobody looked since");
        bells.looked(&bell);
        bells.ring();
        assert_eq!(take(), [7]);
        bells.remove(&bell);
        bells.ring();
        assert_eq!(take(), [] as [u32; 0]);
    }
}
