"""The registry of released event schemas, and what keeps today's contracts readable by those who know only it."""
