"""Mails: templates, transport and mailbox budgets."""
