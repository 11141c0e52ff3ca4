"""Kinds of inputs: how each is drawn, and how it is checked."""

import random
from typing import Any, NamedTuple

from . import files, model_files, plans, shard_files, training


class Kind(NamedTuple):
    """A way to draw inputs, and what is promised of them."""

    draw: Any  # random.Random -> input
    check: Any  # (input, folder) -> outcome, raises where a promise does not hold


KINDS = {
    "csv": Kind(files.draw_csv, files.check_ratings),
    "lines": Kind(files.draw_lines, files.check_ratings),
    "items": Kind(files.draw_items, files.check_items),
    "npz": Kind(files.draw_npz, files.check_ratings),
    "parquet": Kind(files.draw_parquet, files.check_ratings),
    "model": Kind(model_files.draw, model_files.check),
    "shards": Kind(shard_files.draw, shard_files.check),
    "train": Kind(plans.draw, training.check),
}


def draw(kinds, kind, seed, number):
    """Draw an input: a pure function of the arguments."""
    return kinds[kind].draw(random.Random(f"{seed}/{kind}/{number}"))
