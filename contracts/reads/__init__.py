"""Read models that clients are shown: the key and the rows of each, as JSON, one file a read model."""
