"""Commands on sessions, operators' accounts and access keys."""
