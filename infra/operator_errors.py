"""Errors that an operator can fix: printed as one clear line, without a stack trace."""


class OperatorError(Exception):
    """A condition that the operator who ran the command can remove."""
