//! Connections, dispatch, one file per API, delayed operations.
