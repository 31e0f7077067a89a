"""The chores of ./just: environment, generated code and pages, locks, event schemas."""
