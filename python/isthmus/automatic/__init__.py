"""A model from ratings and a number of minutes."""
