"""Events and logins as an operator reads them, without what is personal."""
