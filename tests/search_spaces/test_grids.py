"""Grids: the papers' counts, shared runs trained once, and choices that are refused with the valid ones named."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest

from search_spaces import (
    AttackProbe,
    GridError,
    LandscapeProbe,
    MinimalEpsilonProbe,
    Probe,
    Request,
    SpectrumProbe,
    merge,
    plan,
)
from search_spaces.grid import build
from search_spaces.probe import LOSSES
from search_spaces.smoke import DIGITS, SMOKE
from search_spaces.space import Curve, lambda1_probes


def test_natural_training_has_354_cells_and_1062_trials() -> None:
    grid = plan(Request("natural_training"))
    # per study: 2 regimes x 4 momenta x 7 batch sizes, less the 4 shared at batch 64, plus 7 benchmark cells
    assert len({p.trial.cell_id for p in grid.values()}) == 6 * (2 * 4 * 7 - 4 + 7) == 354
    assert len(grid) == 3 * 354
    studies = Counter((p.trial.dataset, p.trial.model) for p in grid.values())
    assert set(studies.values()) == {177}
    assert set(studies) == {
        ("mnist", "m1_20"), ("mnist", "stdcnn"), ("fashion-mnist", "m1_20"), ("fashion-mnist", "stdcnn"),
        ("cifar10", "c1"), ("cifar10", "resnet18"),
    }  # fmt: skip


def test_batch_64_is_one_run_on_two_curves() -> None:
    grid = plan(Request("natural_training", select={"dataset": ("mnist",), "model": ("m1_20",)}, seeds=(0,)))
    shared = [p for p in grid.values() if len(p.regimes) == 2]
    assert [p.trial.momentum for p in shared] == [0.0, 0.2, 0.5, 0.9]
    assert all(p.regimes == ("lr", "lr_bs") and p.trial.batch_size == 64 for p in shared)


def test_probes_of_a_trial_are_both_attacks_both_losses_all_epsilons_and_lambda1_on_both_splits() -> None:
    planned = next(iter(plan(Request("natural_training")).values()))
    attacks = {p for p in planned.probes if isinstance(p, AttackProbe)}
    assert len(attacks) == 2 * 2 * 6
    spectra = {p for p in planned.probes if isinstance(p, SpectrumProbe)}
    assert spectra == {SpectrumProbe("train", 55_000), SpectrumProbe("test", 10_000)}


def test_headline_probes_are_the_papers_epsilon_and_lambda1() -> None:
    for planned in plan(Request("natural_training", probes="headline", seeds=(0,))).values():
        epsilons = {p.epsilon for p in planned.probes if isinstance(p, AttackProbe)}
        assert epsilons == {0.02 if planned.trial.dataset == "cifar10" else 0.3}
        assert len(planned.probes) == 2 * 2 + 2


def test_measures_are_asked_by_name_beside_or_instead_of_the_grids_own_probes() -> None:
    def probes(asked: str, epsilons: tuple[float, ...] | None = None) -> frozenset[Probe]:
        request = Request("natural_training", select={"dataset": ("mnist",)}, probes=asked, epsilons=epsilons)
        return next(iter(plan(request).values())).probes

    targeted, minimal = AttackProbe("apgd_t", 0.3, "dlr"), MinimalEpsilonProbe()
    assert probes("apgd_t,minimal_epsilon") == {targeted, minimal}
    assert probes("all,apgd_t") == probes("all") | {targeted}
    assert probes("minimal_epsilon,headline") == probes("headline") | {minimal}
    assert probes("apgd_ce", (0.05, 0.1)) == {AttackProbe("apgd_ce", e, loss) for e in (0.05, 0.1) for loss in LOSSES}
    assert not (targeted in probes("all") or minimal in probes("all"))  # the papers' grids stay as published
    with pytest.raises(GridError, match=r"--probes 'apgdt' is not one of .*did you mean 'apgd_t'"):
        probes("all,apgdt")


def test_an_attack_asked_by_name_has_an_epsilon_where_the_grid_attacks_nothing() -> None:
    def probes(dataset: str, epsilons: tuple[float, ...] | None = None) -> frozenset[Probe]:
        cell = replace(DIGITS, dataset=dataset)
        space = replace(SMOKE, curves=(Curve("lr", (cell,)),), seeds=(0,), probes=lambda1_probes)
        return next(iter(build(Request("own", probes="apgd_t", epsilons=epsilons), [space]).values())).probes

    assert probes("mnist") == {AttackProbe("apgd_t", 0.3, "dlr")}
    assert probes("cats", (0.1,)) == {AttackProbe("apgd_t", 0.1, "dlr")}
    with pytest.raises(GridError, match="--probes apgd_t needs --epsilons: this grid does not attack cats"):
        probes("cats")


def test_epsilons_narrow_the_attacks_and_nothing_else() -> None:
    grid = plan(Request("natural_training", select={"dataset": ("mnist",)}, epsilons=(0.05, 0.3)))
    probes = next(iter(grid.values())).probes
    assert {p.epsilon for p in probes if isinstance(p, AttackProbe)} == {0.05, 0.3}
    assert len([p for p in probes if isinstance(p, SpectrumProbe)]) == 2


def test_any_epsilon_is_asked_of_every_attack_of_the_grid() -> None:
    def attacks(*epsilons: float) -> set[AttackProbe]:
        grid = plan(Request("natural_training", select={"dataset": ("mnist",)}, epsilons=epsilons or None))
        return {p for planned in grid.values() for p in planned.probes if isinstance(p, AttackProbe)}

    assert attacks(0.07) == {replace(probe, epsilon=0.07) for probe in attacks()}
    assert attacks(0.07, 0.3) == attacks(0.07) | attacks(0.3)


def test_equal_numbers_are_one_epsilon_whatever_their_spelling() -> None:
    def epsilons(*asked: float) -> set[float]:
        grid = plan(Request("natural_training", select={"dataset": ("mnist",)}, epsilons=asked))
        return {p.epsilon for one in grid.values() for p in one.probes if isinstance(p, AttackProbe)}

    assert epsilons(0.0313725) == epsilons(8 / 255) == epsilons(8 / 255, 0.0313725) == {8 / 255}
    assert epsilons(0.3000001) == {0.3}
    assert epsilons(0.031) == {0.031}


def test_every_data_set_keeps_an_epsilon() -> None:
    with pytest.raises(GridError, match="no --epsilons value applies to cifar10"):
        plan(Request("natural_training", select={"dataset": ("mnist", "cifar10")}, epsilons=(0.3,)))
    plan(Request("natural_training", select={"dataset": ("mnist", "cifar10")}, epsilons=(0.3, 0.02)))


def test_sizes_resize_the_trials_and_what_is_asked_of_them() -> None:
    grid = plan(Request("smoke", epochs=1, train_size=100, test_size=50, seeds=(5,)))
    for planned in grid.values():
        trial = planned.trial
        assert (trial.epochs, trial.train_size, trial.test_size, trial.seed) == (1, 100, 50, 5)
        assert SpectrumProbe("train", 100) in planned.probes


def test_smoke_spans_16x_in_five_sizes_with_three_regimes_and_five_seeds() -> None:
    grid = plan(Request("smoke"))
    sizes = {p.trial.batch_size for p in grid.values()}
    assert len(sizes) == 5
    assert max(sizes) == 16 * min(sizes)
    assert {r for p in grid.values() for r in p.regimes} == {"lr", "lr_bs", "benchmark"}
    assert {p.trial.seed for p in grid.values()} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", ["smoke", "mnist_quick"])
def test_no_epoch_of_a_small_study_ends_with_a_smaller_batch(name: str) -> None:
    """Its last step would be as long as any other and far noisier, at some batch sizes and not at others."""
    trials = [planned.trial for planned in plan(Request(name)).values()]
    assert {trial.train_size % trial.batch_size for trial in trials} == {0}


def test_pgd_crosses_the_ball_in_the_smoke_study_and_takes_the_published_steps_in_the_papers() -> None:
    def steps(grid: str) -> set[int]:
        probes = (probe for planned in plan(Request(grid)).values() for probe in planned.probes)
        return {p.steps for p in probes if isinstance(p, AttackProbe) and p.attack == "pgd"}

    assert (steps("smoke"), steps("full")) == ({20}, {40})


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"batch_size": ("100",)}, "valid: 16, 32, 64"),
        ({"dataset": ("mnist",), "model": ("c1",)}, "never occur together"),
    ],
)
def test_a_wrong_choice_names_the_right_ones(select: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(GridError, match=message):
        plan(Request("natural_training", select=select))


def test_sgd_variants_has_169_cells_of_every_variant_of_table_1() -> None:
    """MNIST: 26 curves of 6 batch sizes, 4 cells on two of them; CIFAR-10: 16 rows of Table 2 and AdamW."""
    grid = plan(Request("sgd_variants"))
    cells = {p.trial.cell_id: p.trial for p in grid.values()}
    assert Counter(t.dataset for t in cells.values()) == {"mnist": 26 * 6 - 4, "cifar10": 17}
    assert {t.optimizer for t in cells.values()} == {"sgd", "svrg", "msgd", "selective_backprop", "adam", "adamw"}
    assert len(grid) == 3 * len(cells)


def test_large_batch_trains_every_table_and_five_robust_children_of_one_original() -> None:
    grid = plan(Request("large_batch", seeds=(0,)))
    natural = [p.trial for p in grid.values() if p.trial.target_loss is not None]
    sizes = {"m1": 6, "m1_lenet": 6, "c1": 8, "c2": 4, "resnet20": 4, "resnet20_x4": 4}
    assert Counter(t.model for t in natural) == sizes
    children = [p.trial for p in grid.values() if p.trial.parent is not None]
    methods = {"fgsm", "fgsm10", "l2grad", "fhsm", "l2hess"}
    for model in ("m1", "m1_lenet", "c3"):
        mine = [t for t in children if t.model == model]
        assert {t.adversarial_training for t in mine} == methods and len({t.parent for t in mine}) == 1
        assert {t.parent.trial_id for t in mine if t.parent} <= set(grid)


def test_both_readings_of_m1_have_landscapes() -> None:
    grid = plan(Request("large_batch", seeds=(0,), select={"target_loss": ("0.001",)}))
    drawn = {p.trial.model for p in grid.values() if any(isinstance(one, LandscapeProbe) for one in p.probes)}
    assert drawn == {"m1", "m1_lenet", "c1", "c2"}


def test_the_ids_of_the_papers_trials_that_users_have_stored_do_not_change() -> None:
    """An id that changes orphans a stored result. New trials are left out here: `resnet20_x4` came later."""
    trials = [p.trial for p in plan(Request("full")).values()]
    ids = sorted({trial.trial_id for trial in trials if trial.model != "resnet20_x4"})
    digest = hashlib.sha256(" ".join(ids).encode()).hexdigest()
    assert (len(ids), digest) == (1707, "f0e050c4a353a5838fe8056f2e664e27eaec3694095213b116e672483919383f")


def test_a_chosen_child_brings_its_parent_which_is_asked_nothing() -> None:
    select = {"adversarial_training": ("fgsm",), "model": ("c3",)}
    grid = plan(Request("large_batch", select=select, seeds=(1,), epochs=7, train_size=500, test_size=100))
    parent, child = sorted(grid.values(), key=lambda p: p.trial.generation)
    assert child.trial.parent == parent.trial and not parent.probes and child.probes
    assert (parent.trial.epochs, child.trial.epochs, parent.trial.seed) == (7, 7, 1)
    longer = plan(Request("large_batch", select=select, seeds=(1,), epochs=50))
    assert sorted(p.trial.epochs for p in longer.values()) == [10, 50]  # never more than the paper's ten


def test_numbers_may_be_written_in_any_way() -> None:
    several = [plan(Request("natural_training", select={"momentum": (text,)})) for text in ("0.5", ".5", "5e-1")]
    assert several[0].keys() == several[1].keys() == several[2].keys()


def test_a_request_survives_json_and_merging_is_idempotent() -> None:
    request = Request("smoke", select={"batch_size": ("8",)}, seeds=(1,), epochs=3, probes="headline", epsilons=(0.1,))
    assert Request.from_dict(request.to_dict()) == request
    grid = plan(request)
    assert merge([grid, grid]) == grid
