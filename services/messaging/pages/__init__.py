"""Pages of conversations and messages as clients get them: JSON that is put together once, where the rows are."""
