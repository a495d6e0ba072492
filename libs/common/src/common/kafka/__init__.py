"""Everything that speaks to Kafka: the topics, the broker, the codec, and key-ordered consumption."""
