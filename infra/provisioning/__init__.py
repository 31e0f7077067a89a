"""Makes what a deployment needs before its first start: keys, passwords and certificates."""
