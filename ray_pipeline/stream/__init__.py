"""Streaming: from a venue's frames to numbered records in Kafka, and from there to the stores."""
