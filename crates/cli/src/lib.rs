//! The subcommands of the millstream binary.
