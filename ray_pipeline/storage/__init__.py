"""All I/O: Postgres, Redis, Kafka, files, HTTP, WebSockets. Implements the ports of the flows."""
