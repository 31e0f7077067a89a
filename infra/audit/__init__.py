"""The audit that can be proved: streams against the signed heads of the notary, and proofs of single events."""
