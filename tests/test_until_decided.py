"""Seeds curve by curve until claims are decided: what is fixed first, which curve comes next, and when it ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.claims import evaluate
from analysis.claims.prospects import Prospect
from analysis.tables.table import load
from benchmarks.planted_study import planted_row
from search_spaces import Grid, Planned, Request, plan
from study import until_decided
from study.checks import InputError
from study.results.folder import Results
from study.run import _record_request
from study.trials.pending import pending
from study.tuning.costs import CostModel
from study.until_decided import Schedule, Stage
from tests.stored import results_in

SELECT = {"dataset": ("mnist",), "model": ("m1_20",), "regime": ("lr", "lr_bs"), "momentum": ("0", "0.9")}
REQUEST = until_decided.requested(Request("natural_training", select=SELECT, probes="headline"), None)


@pytest.fixture(scope="module")
def grid() -> Grid:
    return plan(REQUEST)


def prospect(schedule: Schedule, *names: str, chance: float, ever: float | None = None) -> Prospect:
    keys = tuple(key for key, name in schedule.names.items() if name in names)
    assert len(keys) == len(names)
    return Prospect("A6", keys, 3, 0.5, chance, chance if ever is None else ever)


def chosen(schedule: Schedule, *found: Prospect, work: Collection[Planned] | None = None) -> list[tuple[str, int]]:
    left = schedule.grid.values() if work is None else work
    return [(stage.name, stage.seeds) for stage in schedule.choose(found, left, lambda planned: 1.0)]


LR, LR_BS, LR_M, LR_BS_M = (f"mnist m1_20 {regime} m {m}" for m in ("0", "0.9") for regime in ("lr", "lr_bs"))


def test_a_plan_is_fixed_with_its_hash(grid: Grid) -> None:
    one, same = (until_decided.plan(REQUEST, grid, claims) for claims in ("A6,A20", "A6,A20,A6"))
    assert one["claims"] == ["A6", "A20"]
    assert one["looks"] == [3, 5, 8, 12]
    assert one["seeds"] == list(range(12))
    assert one["sha256"] == same["sha256"] != until_decided.plan(REQUEST, grid, "A6")["sha256"]
    content = {name: value for name, value in one.items() if name not in ("sha256", "stored")}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == one["sha256"]
    assert until_decided.requested(replace(REQUEST, seeds=None), 8).seeds == tuple(range(8))


def test_a_claim_that_the_planned_batch_sizes_cannot_test_is_not_listed(tmp_path: Path) -> None:
    """A19 compares the regimes at every batch size from 128 to 1024."""
    few = replace(REQUEST, select=SELECT | {"batch_size": ("16", "32", "64", "128", "256")})
    assert "A19" in until_decided.plan(REQUEST, plan(REQUEST), "")["claims"]
    listed = until_decided.plan(few, plan(few), "")["claims"]
    assert "A19" not in listed and {"A11", "A15"} <= set(listed)
    with pytest.raises(InputError, match="cannot test A19; claims they can test: "):
        until_decided.plan(few, plan(few), "A19")


def test_a_stored_plan_keeps_its_time(grid: Grid, tmp_path: Path) -> None:
    results = results_in(tmp_path)
    first = until_decided.plan(REQUEST, grid, "A6") | {"stored": "2020-01-01"}
    _record_request(results, REQUEST, [], None, first)
    _record_request(results, REQUEST, [], None, until_decided.plan(REQUEST, grid, "A6"))
    _record_request(results, REQUEST, [], None, until_decided.plan(REQUEST, grid, "A5"))
    _record_request(results, REQUEST, [], None)  # an ordinary run of the same trials hides no plan,
    _record_request(results, REQUEST, [], None, until_decided.plan(REQUEST, grid, "A5"))  # nor a plan such a run
    stored = [entry.get("until_decided") for entry in results.read_study()["requests"]]
    assert [one and (one["claims"], one["stored"] == "2020-01-01") for one in stored] == [
        (["A6"], True),
        None,
        (["A5"], False),
    ]


def test_looks_are_allowed_for_where_the_study_file_is_not_given(grid: Grid, tmp_path: Path) -> None:
    looks = until_decided.plan(REQUEST, grid, "A6")
    results = Study(tmp_path, grid).results
    results.write_row(planted_row(next(iter(grid.values())), np.random.default_rng(0)))
    entry = REQUEST.to_dict() | {"grid": "nowhere.py", "until_decided": looks, "command": "the command"}
    results.write_study({"requests": [entry]})
    table = load(tmp_path)
    assert (table.requests, table.plans, table.commands) == ((), (looks,), ("the command",))


def test_a_plan_for_some_cells_names_them(grid: Grid, tmp_path: Path) -> None:
    Study(tmp_path, {one: of for one, of in grid.items() if of.trial.batch_size < 500})
    assert load(tmp_path).staged == {planned.trial.cell_id for planned in grid.values()}


def test_what_decides_most_for_its_seconds_comes_first(grid: Grid) -> None:
    schedule = Schedule(grid, ["A6"])
    assert chosen(schedule, prospect(schedule, LR, chance=0.2), prospect(schedule, LR_BS_M, chance=0.6)) == [
        (LR_BS_M, 3),
        (LR, 3),
    ]


def test_a_comparison_is_worth_what_both_of_its_curves_cost(grid: Grid) -> None:
    schedule = Schedule(grid, ["A6"])
    together = prospect(schedule, LR, LR_M, chance=0.9)
    assert chosen(schedule, together, prospect(schedule, LR_BS, chance=0.5))[0] == (LR_BS, 3)
    done = [one for one in grid.values() if one.trial.seed > 2 or one.trial.momentum == 0.0 or "lr" not in one.regimes]
    assert chosen(schedule, together, prospect(schedule, LR_BS, chance=0.5), work=done)[0] == (LR, 3)


def test_a_curve_stops_when_its_chance_is_small_or_a_trial_failed(grid: Grid) -> None:
    schedule = Schedule(grid, ["A6"])
    assert not chosen(schedule, prospect(schedule, LR, chance=0.0, ever=1 / 24))
    assert chosen(schedule, prospect(schedule, LR, chance=0.0, ever=2 / 24)) == [(LR, 3)]
    schedule.lost.add(next(i for i, one in grid.items() if one.trial.seed == 0 and one.trial.batch_size == 16))
    assert not chosen(schedule, *(prospect(schedule, name, chance=0.5) for name in (LR,)))


def test_stages_fill_the_slots_and_share_trials(grid: Grid) -> None:
    schedule = Schedule(grid, ["A6"])

    def one_second(planned: Planned) -> float:
        return 1.0

    found = [prospect(schedule, LR, chance=0.5), prospect(schedule, LR_BS, chance=0.4)]
    stages = schedule.choose(found, grid.values(), one_second)
    assert len(until_decided.filling(stages, 8, one_second)[0]) == 1
    assert len(until_decided.filling(stages, 0, one_second)[0]) == 1  # no node is up: else nothing would make one start
    both, work = until_decided.filling(stages, 22, one_second)
    assert len(both) == 2
    assert len(work) == 2 * 21 - 3  # batch 64 is on both curves
    one, work = until_decided.filling(stages, 6, one_second)
    assert len(one) == 1
    own, ahead = work[: len(one[0].work)], work[len(one[0].work) :]
    assert (len(own), len(ahead)) == (21, 3)  # the last three of 21 leave three slots idle
    assert {planned.trial.trial_id for planned in ahead} <= {planned.trial.trial_id for planned in stages[1].work}
    assert not {planned.trial.trial_id for planned in ahead} & {planned.trial.trial_id for planned in own}
    first = {planned.trial.trial_id for planned in own}
    assert len(until_decided.filling(stages, 6, lambda one: 1.0 + (one.trial.trial_id not in first))[1]) == 21


class Study:
    """A folder whose trials are planted in place of being trained."""

    def __init__(self, folder: Path, grid: Grid, stop_after: int = 10**9, claims: str = "A6,A7") -> None:
        self.results, self.grid, self.stages = Results(folder), grid, list[set[str]]()
        self.results.create()
        self.left, self.claims = stop_after, claims.split(",")
        _record_request(self.results, REQUEST, [], None, until_decided.plan(REQUEST, grid, claims))

    def unanswered(self) -> tuple[Collection[Planned], CostModel]:
        return pending(self.grid, self.results.read_rows()[0]), CostModel()

    def train(self, work: Sequence[Planned], costs: CostModel) -> Collection[str]:
        self.stages.append({planned.trial.trial_id for planned in work})
        for planned in work:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            rng = np.random.default_rng(int(planned.trial.trial_id, 16))
            self.results.write_row(planted_row(planned, rng))
        return []

    def run(self, hours: float | None = None) -> bool:
        schedule, (left, costs) = Schedule(self.grid, self.claims), self.unanswered()
        stages = schedule.stages(load(self.results.location), left, costs)
        return until_decided.run(
            schedule, stages, costs, self.results,
            unanswered=self.unanswered, train=self.train, slots=lambda: 1, hours=hours,
        )  # fmt: skip


def test_an_interrupted_study_goes_on_as_if_it_had_not_been(grid: Grid, tmp_path: Path) -> None:
    few = {one: of for one, of in grid.items() if of.trial.momentum == 0.0}
    whole, first = Study(tmp_path / "whole", few), Study(tmp_path / "parts", few, stop_after=30)
    assert not whole.run()
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = Study(tmp_path / "parts", few)
    assert not second.run()
    done = [{row["trial_id"] for row in study.results.read_rows()[0]} for study in (whole, second)]
    assert done[0] == done[1]
    assert set().union(*whole.stages) == done[0]
    assert len(done[0]) < len(few)  # the claims are decided before twelve seeds
    table = load(tmp_path / "whole")
    assert len(table.plans) == 1
    assert set(table.planned["trial_id"]) >= done[0]
    assert (table.planned.drop_duplicates("trial_id")["state"] != "missing").sum() == len(done[0])


def test_an_agreement_of_two_attacks_stops_when_both_are_decided(grid: Grid, tmp_path: Path) -> None:
    few = {one: of for one, of in grid.items() if of.trial.momentum == 0.0 and "lr" in of.regimes}
    study = Study(tmp_path, few, claims="A17")
    assert not study.run()
    verdicts = [verdict for verdict in evaluate(load(tmp_path)) if verdict.claim == "A17"]
    found = {(s.name, v.loss): s.verdict for v in verdicts for s in v.strata if s.counted and s.verdict != "not run"}
    whole = {key: verdict for key, verdict in found.items() if "LR constant" in key[0]}
    assert len(whole) == 2 and set(whole.values()) == {"supported"}, found
    assert sum(map(len, study.stages)) < len(few)


def test_curves_of_another_request_of_the_folder_are_no_stages(tmp_path: Path) -> None:
    results = results_in(tmp_path)
    _record_request(results, replace(REQUEST, seeds=(0, 1, 2)), [], None)
    narrow = replace(REQUEST, select=SELECT | {"regime": ("lr",)})
    grid = plan(narrow)
    _record_request(results, narrow, [], None, until_decided.plan(narrow, grid, "A7"))
    schedule = Schedule(grid, ["A4", "A7", "A14"])
    assert [stage.name for stage in schedule.stages(load(tmp_path), list(grid.values()), CostModel())] == [LR]


def test_curves_of_failed_trials_wait_and_are_named(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path, {one: of for one, of in grid.items() if of.trial.momentum == 0.0})
    monkeypatch.setattr(study, "train", lambda work, costs: {planned.trial.trial_id for planned in work})
    assert not study.run()
    said = capsys.readouterr().out
    assert "trials failed, so their curves are incomplete" in said and "finished: " not in said


def test_no_stage_begins_when_the_time_is_up(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Callable[[], float] = iter((0.0, 10.0, 7200.0)).__next__
    monkeypatch.setattr("study.until_decided.time", SimpleNamespace(monotonic=clock))
    study = Study(tmp_path, {one: of for one, of in grid.items() if of.trial.momentum == 0.0})
    assert study.run(hours=1.0)
    assert len(study.stages) == 1
    assert "stopped after 1 hours; " in capsys.readouterr().out


def test_a_stage_in_words() -> None:
    stage = Stage("mnist m1_20 lr m 0", 5, [], 90.0, {"A6": 0.4, "A7": 0.125}, 1.0)
    assert stage.line == (
        "mnist m1_20 lr m 0, up to 5 seeds: 0 trials, about 1:30 in sequence; "
        "expected share of undecided tests it decides: A6 40 %, A7 12 %"
    )


def test_a_dry_run_lists_the_first_stages(grid: Grid, tmp_path: Path) -> None:
    looks = until_decided.plan(REQUEST, grid, "A6,A7")
    table = load(tmp_path / "new", study={"requests": [REQUEST.to_dict() | {"until_decided": looks}]})
    schedule = Schedule(grid, looks["claims"])
    lines = list(until_decided.dry_run(schedule, schedule.stages(table, list(grid.values()), CostModel())))
    assert lines[0] == "until decided: A6, A7; at most 12 seeds a curve"
    # the two claims are about networks without momentum
    assert [line.partition(":")[0] for line in lines[1:]] == [f"1. {LR_BS}, up to 3 seeds", f"2. {LR}, up to 3 seeds"]
    assert lines[1].endswith("expected share of undecided tests it decides: A6 20 %")
    assert not (tmp_path / "new").exists()
