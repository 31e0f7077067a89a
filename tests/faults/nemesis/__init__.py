"""The faults that the laboratory causes, alone and in pairs, from a seeded schedule."""
