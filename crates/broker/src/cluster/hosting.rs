//! When partitions are hosted: not before the metadata that says which is new enough.
//!
//! Key type: [`Hosting`], between the quorum and those who act on what it commits. A node that joins reads a metadata log
//! that may be long out of date, and must not open, let alone lead, partitions after it. What is committed while logs are
//! being opened is kept and handed on afterwards, in order and once.

use std::sync::Arc;

use millstream_metadata::{ClusterImage, ImageDelta};
use millstream_quorum::ImageListener;
use parking_lot::Mutex;

/// Holds commits back until they are wanted.
pub(crate) struct Hosting {
    state: Mutex<State>,
}

enum State {
    /// Nothing is hosted; the newest image.
    Waiting(Arc<ClusterImage>),
    /// Logs are being opened; what was committed since that began.
    Opening(Vec<(Arc<ClusterImage>, ImageDelta)>),
    /// Who is told of every commit, in this order.
    Following(Vec<Arc<dyn ImageListener>>),
}

impl Hosting {
    /// To be given to the quorum before anything new is committed after `image`.
    pub(crate) fn new(image: Arc<ClusterImage>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Waiting(image)) })
    }

    /// The image to open logs after. What is committed from now on waits for [`Self::follow`].
    pub(crate) fn begin(&self) -> Option<Arc<ClusterImage>> {
        let mut state = self.state.lock();
        let State::Waiting(image) = &*state else { return None };
        let image = Arc::clone(image);
        *state = State::Opening(Vec::new());
        Some(image)
    }

    /// Hands all commits since [`Self::begin`], and from now on, to `listeners`.
    pub(crate) fn follow(&self, listeners: Vec<Arc<dyn ImageListener>>) {
        // Held meanwhile: a commit that comes now must not overtake those before it.
        let mut state = self.state.lock();
        if let State::Opening(kept) = &*state {
            for (image, delta) in kept {
                listeners.iter().for_each(|listener| listener.committed(image, delta));
            }
        }
        *state = State::Following(listeners);
    }
}

impl ImageListener for Hosting {
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        match &mut *self.state.lock() {
            State::Waiting(newest) => *newest = Arc::clone(image),
            State::Opening(kept) => kept.push((Arc::clone(image), delta.clone())),
            State::Following(listeners) => {
                listeners.iter().for_each(|listener| listener.committed(image, delta));
            }
        }
    }
}

impl std::fmt::Debug for Hosting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hosting")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<i32>>);

    impl ImageListener for Seen {
        fn committed(&self, _: &Arc<ClusterImage>, delta: &ImageDelta) {
            self.0.lock().extend(delta.brokers.iter().map(|id| id.get()));
        }
    }

    #[test]
    fn what_is_committed_meanwhile_comes_afterwards_once_and_in_order() {
        let image = Arc::new(ClusterImage::default());
        let commit = |hosting: &Hosting, id: i32| {
            let mut delta = ImageDelta::default();
            delta.brokers.insert(millstream_base::NodeId(id));
            hosting.committed(&image, &delta);
        };
        let hosting = Hosting::new(Arc::clone(&image));
        let seen = Arc::new(Seen::default());
        commit(&hosting, 1);
        assert!(hosting.begin().is_some());
        assert!(hosting.begin().is_none());
        commit(&hosting, 2);
        commit(&hosting, 3);
        hosting.follow(vec![Arc::clone(&seen) as _]);
        commit(&hosting, 4);
        assert_eq!(*seen.0.lock(), [2, 3, 4]);
    }
}
