//! Brokers in a process or as processes, and raw protocol access, for tests.
