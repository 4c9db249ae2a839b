//! Producer, consumer and admin client for the Kafka protocol.
