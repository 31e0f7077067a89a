"""Failures that an operator can set right: their text is one clear line, and no stack trace belongs to it."""


class OperatorError(Exception):
    """Something stands in the way that whoever typed the command can remove."""
