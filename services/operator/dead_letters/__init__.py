"""Dead letters as an operator sees and settles them."""
