"""The tools behind ./just: environment, generated code and pages, locks, event schemas."""
