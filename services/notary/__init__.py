"""Notary: reads every stream and signs what it has read, as heads of Merkle trees."""
