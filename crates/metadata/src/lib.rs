//! The cluster image, the metadata records and the controller's decisions.
