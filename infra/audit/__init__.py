"""The verifiable audit: streams against the signed heads of the notary, and proofs of single events."""
