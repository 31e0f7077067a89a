"""The command `vestnik`: one module per command."""
