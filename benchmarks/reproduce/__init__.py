"""The papers' tables and figures, by one command each, with the published numbers beside ours."""
