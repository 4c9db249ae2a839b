//! The metadata log: proposed, fsynced, replayed.
