"""Personal data in events, sealed with data keys: its fields, the cipher, the keys, the reading of sealed events."""
