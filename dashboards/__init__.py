"""The dashboard: the current generation as pages, for those who hold the link.

`create_app` gets a `recgraph.ports.Store` handed in and knows nothing of MongoDB, Kafka or Spark.
It reads bounded pieces (one profile, the top of a list), never a whole collection.
"""
