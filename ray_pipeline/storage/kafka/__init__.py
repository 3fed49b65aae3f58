"""Kafka: publishing, reading by offset, and topics."""
