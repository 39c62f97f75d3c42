"""Clients of Kafka and MongoDB: the only folder that imports them."""
