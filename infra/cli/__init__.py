"""The command `vestnik`: one module a command."""
