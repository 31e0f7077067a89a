"""Events, with personal fields redacted, for operators."""
