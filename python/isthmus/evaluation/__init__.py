"""Scores, rankings, and how they are measured."""
