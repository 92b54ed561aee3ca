"""Flipped bits, cut and overwritten files: each is refused or reads as what was written, never as something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from study import verify
from study.results import checkpoints
from study.results.folder import RecordsError, Results, decode_arrays
from study.results.row_files import RowError, decode_row, flaws
from study.results.run_lock import RunLock
from tests.commands import refused
from tests.results import small

ID = small.TRIAL.trial_id

Reader = Callable[[bytes], Any]
"""Bytes to a value that can be compared; None if they are refused as damaged."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("fuzz") / "results"
    small.make_folder(where)
    return where


def read_row(content: bytes) -> Any:
    try:
        table = decode_row(content, ID)
    except RowError:
        return None
    return None if flaws(table) else repr(table.to_pylist())


def read_weights(content: bytes) -> Any:
    try:
        state = checkpoints.read_weights(content)
    except checkpoints.DamagedError:
        return None
    return checkpoints.state_sha256(state)


def read_checkpoint(content: bytes) -> Any:
    model = small.network()
    optimizer = small.optimizer_of(model)
    try:
        state = checkpoints.load_state(model, optimizer, content)
    except ValueError:
        return None
    return checkpoints.weights_sha256(model), repr(state), repr(optimizer.state_dict())


def read_arrays(content: bytes) -> Any:
    try:
        return {name: array.tolist() for name, array in decode_arrays(content).items()}
    except checkpoints.DamagedError:
        return None


READERS: dict[str, Reader] = {
    f"trials/{ID}.parquet": read_row,
    f"weights/{ID}.safetensors": read_weights,
    f"checkpoints/{ID}.pt": read_checkpoint,
    f"arrays/{ID}.npz": read_arrays,
}


places = st.integers(0, 2**31)
changes = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("cut"), places, st.just(0)),
    st.tuples(st.just("zeros"), places, st.integers(1, 4096)),
    st.tuples(st.just("byte"), places, st.integers(0, 255)),
    st.tuples(st.just("insert"), places, st.integers(1, 64)),
)


def changed(content: bytes, change: tuple[str, int, int], from_end: bool) -> bytes:
    """The content with one change; `from_end` counts the place from the end, within the last 2,000 bytes."""
    kind, place, how = change
    at = place % len(content)
    if from_end:
        at = len(content) - 1 - place % min(len(content), 2000)
    if kind == "cut":
        return content[:at]
    middle = {
        "flip": bytes([content[at] ^ 1 << how % 8]),
        "zeros": bytes(len(content[at : at + how])),
        "byte": bytes([how % 256]),
        "insert": bytes(how) + content[at : at + 1],
    }[kind]
    return content[:at] + middle + content[at + (how if kind == "zeros" else 1) :]


def fuzz(where: Path, count: int) -> None:
    """Change files `count` times in all: what is read is None or what was written, and nothing is raised."""
    for name, read in READERS.items():
        fuzz_file((where / name).read_bytes(), read, count // len(READERS))


def fuzz_file(content: bytes, read: Reader, count: int) -> None:
    written = read(content)
    assert written is not None

    @settings(max_examples=count, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(changes, st.booleans())
    def one(change: tuple[str, int, int], from_end: bool) -> None:
        found = read(changed(content, change, from_end))
        assert found is None or found == written

    one()


def test_a_changed_file_is_refused_or_reads_as_it_was(made: Path) -> None:
    torch.set_num_threads(1)
    fuzz(made, 2_000)


@pytest.mark.slow
def test_fifty_thousand_changed_files(made: Path) -> None:
    fuzz(made, 50_000)


@pytest.mark.parametrize("file", READERS)
def test_every_bit_of_a_file_counts(made: Path, file: str) -> None:
    """Of each file, 400 single bits: all are noticed; a digest misses none, and what it does not cover is checked."""
    content, read = (made / file).read_bytes(), READERS[file]
    step = max(1, 8 * len(content) // 400)
    for bit in range(0, 8 * len(content), step):
        mutated = bytearray(content)
        mutated[bit // 8] ^= 1 << bit % 8
        assert read(bytes(mutated)) is None, (file, bit)


texts = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["requests", "grid", "seeds", "epochs", "at", "pid", "host", "x"]), inner)
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(texts)
def test_any_study_and_run_file_is_read_or_refused_with_one_line(made: Path, content: bytes) -> None:
    (made / "study.json").write_bytes(content)
    (made / "run.json").write_bytes(content)
    results = Results(made)
    try:
        assert isinstance(results.read_study(), dict)
    except RecordsError as error:
        assert "\n" not in str(error)
    try:
        with RunLock(results):
            pass
    except RecordsError as error:
        assert "another command runs" in str(error)


@pytest.mark.parametrize("name", READERS)
def test_verify_names_the_changed_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.make_folder(tmp_path)
    assert verify.main([str(tmp_path)]) == 0
    assert "0 problems" in capsys.readouterr().out
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / name).write_bytes(content)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert verify.main([str(tmp_path)]) == 1
    assert name in capsys.readouterr().out
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


def test_weights_and_arrays_that_are_missing_are_no_damage(tmp_path: Path) -> None:
    small.make_folder(tmp_path)
    for folder in ("weights", "arrays"):
        shutil.rmtree(tmp_path / folder)
    assert verify.main([str(tmp_path)]) == 0


def test_verify_of_nothing_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, verify.main, [str(tmp_path / "nothing")], "holds no results")
