"""Erasure of an account: the request and its grace, the batch that ends the account, and what follows it."""
