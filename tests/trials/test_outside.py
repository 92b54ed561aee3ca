"""Code and images from outside the package: in a worker without its files, in a grid of ours, and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from search_spaces import GRIDS, AttackProbe, GridError, InputCurvatureProbe, InputHessianProbe, Request, plan
from search_spaces.outside import accept
from study.attacks import ATTACKS
from study.data import DATASETS, load, split
from study.models import MODELS, fingerprint
from study.options import parser
from study.run import Command, main
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.outside import Outside, bring, sized
from tests.commands import refused
from tests.outside import forgotten, write_images
from tests.stored import results_in
from tests.trials.small import planned, trial

STUDY = """
from nets.layers import hidden
from study.data import OwnImages
from search_spaces.smoke import DIGITS, SMOKE
from dataclasses import replace
from search_spaces.regimes import fixed_rate
from search_spaces.space import Curve, curve
MODELS = {"own": hidden}
DATASETS = {"mine": OwnImages("mine.npz")}
BASE = replace(DIGITS, dataset="mine", model="own", train_size=64, val_size=10, test_size=30, epochs=1)
SPACES = (replace(SMOKE, name="ours", curves=(curve(fixed_rate(0.1), BASE, (16,), 0.0),), seeds=(0,)),)
"""

RESTLESS = (
    STUDY.replace('model="own"', 'model="own", optimizer="restless"')
    + """
def Restless(model, *, learning_rate): pass
OPTIMIZERS = {"restless": Restless}
"""
)

PARTS = (
    STUDY.replace('model="own"', 'model="own", optimizer="twice", schedule="thirds"')
    .replace("epochs=1", "epochs=2")
    .replace("curve(fixed_rate(0.1), BASE, (16,), 0.0)", 'Curve("own", (BASE,))')
    + """
from study.attacks.spec import AttackSpec
from study.optimizers import SGD
class Twice(SGD):
    def step(self, x, y):
        self.gradient_equivalents += len(y)
        return super().step(x, y)
def no_step(epsilon, steps):
    return 0.0
def unmoved(model, x, y, *, epsilon, loss, generator=None):
    return x
OPTIMIZERS = {"twice": Twice}
SCHEDULES = {"thirds": lambda rate, epoch: rate / 3**epoch}
ATTACKS = {"unmoved": AttackSpec(unmoved, norm="linf", steps=1, step_size=no_step, random_start=False)}
"""
)

LAYERS = """
from torch import nn
def hidden(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 5), nn.ReLU(), nn.Linear(5, num_classes))
def nothing(*, image_shape, num_classes): return 3
def broken(*, image_shape, num_classes): raise KeyError("width")
"""

WORKER = """
import pickle, sys
outside = pickle.load(open(sys.argv[1], "rb"))
outside.enter()
outside.enter()
from study.models import fingerprint
from study.data import DATASETS
info = DATASETS["mine"]
print(fingerprint(sys.argv[2], image_shape=info.image_shape, num_classes=info.num_classes))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A study file, a package beside it, and images; it is the working directory."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("")
    (tmp_path / "nets" / "layers.py").write_text(LAYERS)
    (tmp_path / "my_study.py").write_text(STUDY)
    write_images(tmp_path / "mine.npz")
    with forgotten():
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        yield tmp_path


def in_a_worker(outside: Outside, model: str, folder: Path) -> str:
    """The model's fingerprint in a process that has none of the files."""
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "outside.pickle").write_bytes(pickle.dumps(outside))
    for path in ("nets/layers.py", "nets/__init__.py", "my_study.py", "mine.npz"):
        (folder / path).unlink()
    command = [sys.executable, "-c", WORKER, "outside.pickle", model]
    done = subprocess.run(command, cwd=folder / "elsewhere", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("given", "model", "sent"),
    [
        (("my_study.py", None, None), "own", {"my_study.py", "nets/__init__.py", "nets/layers.py"}),
        (("smoke", "nets.layers:hidden", "mine.npz"), "nets.layers:hidden", {"nets/__init__.py", "nets/layers.py"}),
    ],
    ids=["a study file", "options"],
)
def test_a_worker_needs_none_of_the_files(
    given: tuple[str, str | None, str | None], model: str, sent: set[str], folder: Path
) -> None:
    outside = bring(*given, folder)
    assert set(outside.sources) == sent
    expected = fingerprint(model, image_shape=(1, 12, 12), num_classes=3)
    assert in_a_worker(outside, model, folder) == expected


def test_the_files_optimizer_schedule_and_attack_are_used(folder: Path) -> None:
    (folder / "parts.py").write_text(PARTS)
    bring("parts.py", None, None, folder)
    (one,) = plan(Request("parts.py")).values()
    whole = load("mine", folder)
    data = DeviceData.of(split(whole, train_size=64, val_size=10, test_size=30), whole.sha256)
    row = execute(planned(one.trial, frozenset({AttackProbe("unmoved", 0.1, "ce")})), data, results_in(folder / "r"))
    assert row["gradient_equivalents"] == 2 * 2 * 64
    assert [epoch["lr"] for epoch in row["history"]] == [one.trial.learning_rate, one.trial.learning_rate / 3]
    assert row["attacks"][0]["accuracy"] == row["test_acc"]


def test_a_worker_has_what_a_models_function_imports(folder: Path) -> None:
    blocks = "def hidden(num_classes):\n    from .layers import hidden\n    return hidden(num_classes)\n"
    (folder / "nets" / "blocks.py").write_text(blocks)
    options = ["--grid", "smoke", "--model", "nets.blocks:hidden", "--dataset", "mine.npz", "--results", "r"]
    command = Command.of(options, parser().parse_args(options))
    assert command.outside is not None
    expected = fingerprint("nets.blocks:hidden", image_shape=(1, 12, 12), num_classes=3)
    assert in_a_worker(command.outside, "nets.blocks:hidden", folder) == expected


def test_options_put_a_model_and_images_in_the_curves_of_a_grid(folder: Path) -> None:
    request = Request("smoke", model="nets.layers:hidden", dataset="mine.npz", seeds=(0,))
    bring(request.grid, request.model, request.dataset, folder)
    whole = sized(request)
    assert (whole.train_size, whole.val_size, whole.test_size) == (270, 30, 90)
    assert sized(Request("smoke", dataset="mine.npz", train_size=290)).val_size == 10
    grid = plan(whole)
    assert len(grid) == len(plan(Request("smoke", seeds=(0,))))
    assert {(p.trial.model, p.trial.dataset) for p in grid.values()} == {("nets.layers:hidden", "mine")}
    assert plan(Request.from_dict(whole.to_dict())) == grid
    with pytest.raises(GridError, match=r"replaces one dataset, but .* has 3; add --select dataset=cifar10"):
        plan(Request("natural_training", dataset="mine.npz"))


def test_images_of_a_user_leave_no_minibatch_of_one(folder: Path) -> None:
    write_images(folder / "photos.npz", train=801)
    options = ["--grid", "smoke", "--model", "torchvision.models:resnet18", "--dataset", "photos.npz@3x32x32"]
    command = [*options, "--data-dir", str(folder), "--results", str(folder / "r"), "--seeds", "0", "--dry-run"]
    bring("smoke", None, "photos.npz@3x32x32", folder)
    whole = sized(Request("smoke", dataset="photos.npz@3x32x32"))
    assert (whole.train_size, whole.val_size) == (720, 81)
    assert main([*command, "--train-size", "721"]) == 2
    assert main(command) == 0


def test_installed_functions_are_imported_and_not_sent(folder: Path) -> None:
    outside = bring("smoke", "torchvision.models:resnet18", None, folder)
    assert outside.sources == {}
    made = MODELS["torchvision.models:resnet18"](image_shape=(3, 32, 32), num_classes=7)
    assert made.fc.out_features == 7


def test_installed_packages_of_another_folder_are_not_sent_nor_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = folder / "home" / "dist-packages"
    installed.mkdir(parents=True)
    (folder / "nets").rename(installed / "nets")
    (installed / "no_one_imported_it.py").write_text("")
    (folder / "no_one_imported_it.py").write_text(STUDY)
    monkeypatch.syspath_prepend(str(installed))
    assert bring("smoke", "nets.layers:hidden", None, folder).sources == {}
    assert set(bring("my_study.py", None, None, folder).sources) == {"my_study.py"}
    with pytest.raises(GridError, match=r"name of another module, .*dist-packages/no_one_imported_it\.py: rename it"):
        bring("no_one_imported_it.py", None, None, folder)
    (folder / "my_study.py").rename(installed / "my_study.py")
    assert bring(str(installed / "my_study.py"), None, None, folder).sources == {}


@pytest.mark.parametrize("classes", [2, 12])
def test_every_attack_and_the_input_hessian_with_other_numbers_of_classes(classes: int, folder: Path) -> None:
    write_images(folder / "few.npz", classes, 120, 60)
    bring("smoke", "nets.layers:hidden", "few.npz", folder)
    whole = load("few", folder)
    sizes = {"train_size": 96, "val_size": 24, "test_size": 60}
    data = DeviceData.of(split(whole, **sizes), whole.sha256)
    probes = [
        AttackProbe(name, 0.1, loss)  # type: ignore[arg-type]
        for name, attack in ATTACKS.items()
        for loss in ([attack.loss] if attack.loss else ["ce", "stable"])
    ]
    one = trial(dataset="few", model="nets.layers:hidden", **sizes)
    asked = frozenset([*probes, InputHessianProbe(2), InputCurvatureProbe("test")])
    row = execute(planned(one, asked), data, results_in(folder / "r"))
    assert row["num_classes"] == classes
    assert len(row["attacks"]) == len(probes)
    assert 1 <= row["rank_max"] <= classes - 1
    if classes == 2:  # one margin: the Newton direction is the gradient's
        found = {(a["attack"], a["loss"]): a["correct"] for a in row["attacks"]}
        assert found["fhsm", "stable"] == found["fgsm", "stable"]
        assert found["l2hess", "stable"] == found["l2grad", "stable"]


def test_a_path_may_hold_an_at() -> None:
    assert Request.split_dataset("/home/me@uni/cats") == ("/home/me@uni/cats", None)
    assert Request.split_dataset("/home/me@uni/cats@3x64x64") == ("/home/me@uni/cats", (3, 64, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "gone.py"], "there is no study file gone.py"),
        (["--grid", "random.py"], "random.py has the name of another module: rename it"),
        (["--grid", "torch.py"], "torch.py has the name of another module, "),
        (["--grid", "no_spaces.py"], "no_spaces.py has no SPACES"),
        (["--grid", "my.study.py"], "the name of a study file has no dot but that of .py: rename my.study.py"),
        (["--grid", "seedless.py"], "seedless.py: the space ours has no seeds"),
        (["--grid", "curveless.py"], "curveless.py: the space ours has no curves"),
        (["--grid", "twice.py"], "twice.py: two curves have the label 'lr' but other rates, schedules or parents"),
        (["--grid", "names.py"], "names.py: REGIME_NAMES is not a dictionary from names"),
        (["--grid", "restless.py"], "optimizer restless: Restless() got an unexpected keyword argument 'momentum'"),
        (["--grid", "wrong.py"], "wrong cannot be imported: NameError: name 'nothing' is not defined (line 2 of "),
        (["--grid", "taken.py"], "taken.py: the package has 'm1' in MODELS already; choose another name"),
        (["--grid", "smoke", "--model", "nets"], "--model 'nets' is not package.module:function"),
        (["--grid", "smoke", "--model", "nets.layers:gone"], "nets.layers has no function gone"),
        (["--grid", "smoke", "--model", "nothing.here:gone"], "nothing.here cannot be imported: ModuleNotFoundError"),
        (["--grid", "smoke", "--model", "nets.layers:nothing"], "returns int, not a torch.nn.Module"),
        (["--grid", "smoke", "--model", "nets.layers:broken"], "its function failed: KeyError: 'width'"),
        (["--grid", "smoke", "--dataset", "gone"], "gone is no folder and no .npz file; it should be"),
        (["--grid", "smoke", "--dataset", "mine.npz@4x8x8"], "'4x8x8' is no shape of images such as 3x64x64"),
        (["--grid", "smoke", "--dataset", "mnist.npz"], "the package has 'mnist' in DATASETS already"),
        (["--grid", "smoke", "--dataset", ".."], "has no name: name the folder itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_and_exit_2(
    options: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {
        "random": "SPACES = ()", "torch": "", "no_spaces": "SPACES = ()", "wrong": "x = 1\nSPACES = nothing\n",
        "twice": STUDY.replace("curves=(", "curves=(curve(fixed_rate(0.2), BASE, (8, 16), 0.0), "),
        "names": STUDY + "REGIME_NAMES = ('gentle',)", "restless": RESTLESS,
        "taken": STUDY.replace('"own": hidden', '"m1": hidden'), "my.study": STUDY,
        "seedless": STUDY.replace("seeds=(0,)", "seeds=()"), "curveless": STUDY.replace("curves=", "curves=() and "),
    }.items():  # fmt: skip
        (folder / f"{name}.py").write_text(text)
    write_images(folder / "mnist.npz")
    command = [*options, "--data-dir", str(folder), "--results", str(folder / "r"), "--dry-run"]
    refused(capsys, main, command, message)
    assert sys.modules["torch"].__file__ == torch.__file__


@pytest.mark.parametrize("grid", GRIDS)
def test_the_curves_of_every_grid_have_labels_of_their_own(grid: str) -> None:
    module = ModuleType("as_a_study_file")
    module.SPACES = GRIDS[grid]  # type: ignore[attr-defined]
    with forgotten():
        assert accept(module) is module


def test_a_file_that_was_edited_is_read_again(folder: Path) -> None:
    bring("my_study.py", None, None, folder)
    (folder / "my_study.py").write_text(STUDY.replace("(16,)", "(8, 16)"))
    bring("my_study.py", None, None, folder)
    assert len(plan(Request("my_study.py"))) == 2
    assert DATASETS["mine"].num_classes == 3


def test_the_command_runs_it_on_ray_from_anywhere_and_resumes(folder: Path) -> None:
    """From another folder than the file's, then again, and from a copy of the file under another path."""
    (folder / "elsewhere").mkdir()
    command = [sys.executable, "-m", "study.run", "--data-dir", str(folder), "--results", str(folder / "r"), "--grid"]
    run = {"cwd": folder / "elsewhere", "capture_output": True, "text": True, "check": False}
    done = subprocess.run([*command, "../my_study.py", "--no-report"], **run)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "r" / "sources" / "nets" / "layers.py").read_text() == LAYERS
    (folder / "copy").mkdir()
    for name in ("my_study.py", "nets"):
        (folder / name).rename(folder / "copy" / name)
    done = subprocess.run([*command, str(folder / "copy" / "my_study.py")], **run)  # type: ignore[call-overload]
    assert "nothing to do" in done.stdout, done.stdout + done.stderr
    assert "report: " in done.stdout
    layers = folder / "copy" / "nets" / "layers.py"
    layers.write_text(LAYERS.replace("nn.ReLU", "nn.Tanh"))
    done = subprocess.run([*command, str(folder / "copy" / "my_study.py")], **run)  # type: ignore[call-overload]
    assert (done.returncode, "the function of model own is not the one" in done.stderr) == (2, True)
