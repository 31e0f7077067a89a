"""Dead letters for operators: list, show, retry, discard."""
