"""Merkle trees over stored events, hashed as in RFC 9162: roots, proofs, their verification, signed heads.

Pure: nothing here reads a stream.
"""
