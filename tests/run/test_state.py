"""The file that records what is finished: resumed, damaged, not written."""

import json

import jobs_work
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_potential.run.files import strict_json
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


DAMAGED = [
    '{"done": ["a',
    "[]",
    "3",
    "",
    "null",
    '{"done": 3}',
    '{"done": "abc"}',
    '{"done": [1]}',
    '{"done": [["a"]]}',
    '{"done": [], "failed": ["a"]}',
    '{"done": [], "failed": {"a": 1}}',
    '{"done": [NaN]}',
    '{"done": [], "more": 1e999}',
    '{"schema_version": 2, "done": []}',
    '{"schema_version": 1.0}',
    '{"schema_version": true}',
    '{"schema_version": "1"}',
    '{"done": ' + "[" * 200_000,
    "\0\0\0",
    "\ufeff{}",
]


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:20])
def test_a_damaged_state_names_itself_and_the_remedy(tmp_path, text):
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    with pytest.raises(StateError, match="(?s)state.json is damaged.*delete it"):
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


def test_a_state_of_before_there_were_versions_is_read(tmp_path):
    path = tmp_path / "state.json"
    path.write_text('{"done": ["a"], "failed": {"b": "timeout"}}')
    assert State.read(path) == State(path, ["a"], {"b": "timeout"})
    State.read(path).record([Outcome("c")])
    assert json.loads(path.read_text())["schema_version"] == 1


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_bytes_in_a_state_are_a_state_or_an_error_of_its_own(tmp_path, data):
    state = State(tmp_path / "state.json", ["a", "ä"], {"b": "timeout"})
    state.record([Outcome("c")])
    content = bytearray(state.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        size = data.draw(st.integers(0, 9))
        content[at : at + size] = data.draw(st.binary(max_size=9))
    state.path.write_bytes(content)
    try:
        found = State.read(state.path)
    except StateError as error:
        assert "state.json is damaged" in str(error)
    else:
        words = [*found.done, *found.failed, *found.failed.values()]
        assert all(isinstance(word, str) for word in words)
        assert found.todo(found.done) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True)
@given(JSON)
def test_strict_json_takes_what_is_finite_and_nothing_else(value):
    text = json.dumps(value)
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        with pytest.raises(ValueError, match="here.json"):
            strict_json(text, "here.json")
    else:
        assert strict_json(text, "here.json") == value
