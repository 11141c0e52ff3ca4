"""`python -m isthmus` is `isthmus`."""

from isthmus.cli import app

app(prog_name="isthmus")
