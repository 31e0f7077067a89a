"""Mails: templates, transport, budgets of mailboxes."""
