"""Use the installed isthmus on every instruction set of this machine, as its wheels are tested.

Needs what isthmus itself needs, and no compiler.
"""

import os
import subprocess
import sys
import zlib
from importlib.metadata import files
from pathlib import Path

MOST_MEGABYTES = 6  # of a wheel

USE = """
import sys
from importlib.resources import files
import isthmus
assert (files("isthmus") / "serving" / "static" / "index.html").is_file(), "the page is missing"
assert "scipy.optimize" not in sys.modules, "import isthmus imports scipy.optimize"
train, test = isthmus.train_test_split(
    isthmus.synthetic_ratings(200, 100, 5000, random_state=0), random_state=0
)
models = isthmus.AutoRec(hidden_units=20, epochs=3, random_state=0), isthmus.EASE()
for model in models:
    model.fit(train)
    items, scores = model.recommend(n=3)
    assert items.shape == scores.shape == (200, 3)
errors = models[0].evaluate(test)
assert 0 < errors["rmse"] < 2, errors
info = isthmus.build_info()
print(info["isa"], info["compiler"], info["threads_backend"], f"rmse {errors['rmse']:.4f}")
"""


def compressed_megabytes() -> float:
    """Return about how large the wheel is that was installed: its files, each compressed."""
    installed = [Path(str(file.locate())) for file in files("isthmus") or ()]
    contents = (path.read_bytes() for path in installed if path.suffix != ".pyc" and path.is_file())
    return sum(len(zlib.compress(content)) for content in contents) / 1e6


def main() -> None:
    """Run the program above once for each instruction set, then look at the size."""
    from isthmus import _core

    for isa in _core.available():
        subprocess.run(
            [sys.executable, "-I", "-c", USE], env={**os.environ, "ISTHMUS_ISA": isa}, check=True
        )
    size = compressed_megabytes()
    print(f"about {size:.1f} MB")
    if size > MOST_MEGABYTES:
        sys.exit(f"A wheel may have {MOST_MEGABYTES} MB, but this one has about {size:.1f}.")


if __name__ == "__main__":
    main()
