"""The fuzzing harness: what it found once stays mended, and what it would find it does find."""

from pathlib import Path

import pytest
from tests.fuzz import expectations, faults, kinds, model_files, plans, runner
from tests.fuzz.codec import dumps, loads

CASES = sorted((Path(__file__).parent / "fuzz" / "cases").glob("*.json"))
INPUTS = {
    "csv": 400,
    "lines": 200,
    "items": 200,
    "npz": 300,
    "parquet": 200,
    "model": 300,
    "shards": 200,
    "train": 200,
}

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' /proc")


@linux
def test_saved_cases_pass():
    cases = [loads(path.read_text()) for path in CASES]
    for path, outcome in zip(CASES, runner.replay(cases), strict=True):
        assert outcome.failure is None, f"{path}: {outcome.report}"


@linux
def test_a_few_hundred_inputs_of_each_kind_pass():
    tasks = [(kind, 0, range(n)) for kind, n in INPUTS.items()]
    counts, found = runner.campaign(tasks, workers=2)
    assert not found, "\n".join(f"{key}: {entry['report']}" for key, entry in found.items())
    accepted = {kind for kind, label in counts if label.startswith("accepted")}
    refused = {kind for kind, label in counts if label.startswith("refused")}
    assert accepted == refused == set(INPUTS)
    assert sum(counts.values()) == sum(INPUTS.values())


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_an_input_is_a_function_of_seed_and_number(kind):
    first = [dumps(kinds.draw(kinds.KINDS, kind, 3, number)) for number in range(30)]
    assert first == [dumps(kinds.draw(kinds.KINDS, kind, 3, number)) for number in range(30)]
    assert len(set(first)) > 25
    assert dumps(loads(first[0])) == first[0]


def test_every_model_is_fuzzed():
    assert not model_files.untested()
    assert not plans.untested()


@linux
def test_crash_hang_hunger_and_raw_exceptions_are_found_and_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "TIME_LIMIT", 6)
    tasks = [(name, 7, range(2 if name == "misbehave" else 1)) for name in faults.KINDS]
    counts, found = runner.campaign(tasks, kinds=".faults", failures=tmp_path)
    assert counts == {
        ("die", "FAILED: SIGSEGV"): 1,
        ("hang", "FAILED: hang"): 1,
        ("devour", "FAILED: memory"): 1,
        ("warn", "FAILED: RuntimeWarning"): 1,
        ("misbehave", "FAILED: RuntimeError"): 2,
    }
    assert len(found) == 5
    assert "hang" in next(entry["report"] for key, entry in found.items() if "hang" in key)
    for number in range(2):
        saved = loads((tmp_path / f"misbehave-7-{number}.json").read_text())
        assert saved["input"] == kinds.draw(faults.KINDS, "misbehave", 7, number)


SENTENCES = {
    "a.csv must hold at least one rating, but it is empty.": None,
    "a.csv is empty": "full stop",
    "it is empty.": "names neither",
    "a.csv: __init__(): incompatible function arguments.": "jargon",
    "a.csv: [Errno 22] Invalid argument.": "jargon",
    "a.csv cannot be read as an npz file: [Errno 22] Invalid argument.": None,
    "a.csv must not hold 'std::bad_alloc'.": None,
    "a.csv holds \x1b[31m.": "control",
    f"a.csv holds {'x' * 700}.": "long",
    "": "without",
}


@pytest.mark.parametrize("message", SENTENCES)
def test_a_refusal_is_one_clear_sentence(message):
    fault, expected = expectations.fault_of(message, "a.csv"), SENTENCES[message]
    assert fault is None if expected is None else expected in fault
