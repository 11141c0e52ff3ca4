"""Weights, predictions and lists are the same to the bit as when they were recorded."""

import json

import golden
import pytest

from isthmus import build_info

RECORDED = json.loads(golden.PATH.read_text())


@pytest.mark.parametrize("isa", build_info()["available_isas"])
def test_every_model_learns_the_same_bits_as_ever(isa):
    here = golden.tools()
    if here != RECORDED["tools"]:
        pytest.skip(f"recorded with {RECORDED['tools']}, and this is {here}")
    assert golden.digests_of(isa) == RECORDED[isa]
