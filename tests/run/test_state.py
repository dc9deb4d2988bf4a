"""The file that records what is finished: resumed, damaged, not written."""

import json

import jobs_work
import pytest

from lunar_potential.run.jobs import run_jobs
from lunar_potential.run.outcomes import Outcome
from lunar_potential.run.state import State, StateError


def test_state_resumes(tmp_path):
    state = State.read(tmp_path / "deep" / "state.json")
    assert state.todo("abc") == ["a", "b", "c"]
    state.record(
        [
            Outcome("b"),
            Outcome("a", category="timeout"),
            Outcome("c", category="generic"),
        ]
    )
    state.record([Outcome("c"), Outcome("b")])
    again = State.read(state.path)
    assert again.done == ["b", "c"] and again.failed == {"a": "timeout"}
    assert again.todo("abcd") == ["a", "d"] and again.todo(
        "abcd", leave=("timeout",)
    ) == ["d"]
    assert State.read(state.path, ignore=True).todo("ab") == ["a", "b"]
    assert [path.name for path in state.path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ['{"done": ["a', "[]", '{"done": 3}', "\0\0\0"])
def test_a_damaged_state_names_itself_and_the_remedy(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(StateError, match="state.json is damaged.*delete it"):
        State.read(tmp_path / "state.json")


def test_state_and_batches_together(tmp_path):
    state = State.read(tmp_path / "state.json")
    run_jobs(
        jobs_work.fails,
        state.todo(range(9)),
        on_results=lambda batch: state.record(batch, str),
        categorize=jobs_work.category,
        flush_batch_size=4,
    )
    held = json.loads((tmp_path / "state.json").read_text())
    assert held["done"] == ["2", "5", "8"] and held["failed"] == {
        str(n): ("divide-by-zero", "generic")[n % 3] for n in (0, 1, 3, 4, 6, 7)
    }


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    state = State.read(tmp_path / "state.json")
    state.record([Outcome("a")])

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        state.record([Outcome("b")])
    assert State.read(state.path).done == ["a"] and [
        path.name for path in tmp_path.iterdir()
    ] == ["state.json"]
