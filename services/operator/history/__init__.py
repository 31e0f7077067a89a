"""Events, with personal fields redacted, and logins for operators."""
