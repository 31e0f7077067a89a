"""Commands on events: shown, counted, exported, imported, replayed."""
