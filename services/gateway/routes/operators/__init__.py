"""Routes of the operators' page."""
