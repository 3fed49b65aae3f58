"""Apache Kafka itself, from Maven's jars."""
