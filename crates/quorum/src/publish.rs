//! Where a new image becomes known: listeners first, then everyone.
//!
//! Key type: [`Publisher`]. Publishing may block as long as listeners do, and is done by one caller at a time.

use std::sync::Arc;

use arc_swap::ArcSwap;
use millstream_metadata::{ClusterImage, ImageDelta};
use parking_lot::RwLock;
use tokio::sync::watch;

/// Someone who acts on every commit.
pub trait ImageListener: Send + Sync {
    /// Called once for every commit, in order, after it is on disk and before its commands are answered and
    /// [`crate::Quorum::image`] shows it: what must be there before a client can know of it is made here. A node that follows
    /// sees several commits as one where it has to catch up. It may block, and must not call [`crate::Quorum::execute`] and wait.
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta);
}

/// The newest image, and who wants to know of it.
pub(crate) struct Publisher {
    image: ArcSwap<ClusterImage>,
    changes: watch::Sender<Arc<ClusterImage>>,
    listeners: RwLock<Vec<Arc<dyn ImageListener>>>,
}

impl Publisher {
    pub(crate) fn new(image: Arc<ClusterImage>) -> Self {
        let changes = watch::Sender::new(Arc::clone(&image));
        Self { image: ArcSwap::new(image), changes, listeners: RwLock::default() }
    }

    pub(crate) fn image(&self) -> Arc<ClusterImage> {
        self.image.load_full()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.changes.subscribe()
    }

    pub(crate) fn add_listener(&self, listener: Arc<dyn ImageListener>) {
        self.listeners.write().push(listener);
    }

    pub(crate) fn publish(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        for listener in self.listeners.read().iter() {
            listener.committed(image, delta);
        }
        self.image.store(Arc::clone(image));
        self.changes.send_replace(Arc::clone(image));
    }
}
