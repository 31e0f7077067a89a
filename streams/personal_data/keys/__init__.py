"""The life of a data key: creation, also ahead of its month, wrapping with another master key, destruction."""
