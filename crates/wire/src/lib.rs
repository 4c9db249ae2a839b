//! Kafka protocol messages generated from the protocol table, and frames. No sockets.
