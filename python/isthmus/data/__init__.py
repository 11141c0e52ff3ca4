"""Ratings, content, and where they come from."""
