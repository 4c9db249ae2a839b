//! Clock, random, tasks, sockets and files: the only crate that names them.
