"""The keys of the notary."""
