"""Merkle trees over stored events, hashed as in RFC 9162: roots, proofs, and their verification.

Pure: nothing here reads a stream.
"""
