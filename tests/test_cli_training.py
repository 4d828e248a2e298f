"""The commands that train, and those that tell what there is: train, study, data, models."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_cli import run

import gradflow
from gradflow.data import DataCheck, FileCheck, Split
from gradflow.models import ARCHITECTURES, resnet
from gradflow.seeding import seeded
from gradflow.training import plans

SMALL = ("train", "resnet8", "--width", 4)
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def in_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, and no data anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADFLOW_DATA", "no-data-here")
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, make_history: Any) -> dict[str, Any]:
    """What fit is asked for, on images that are made up; it trains nothing."""
    found: dict[str, Any] = {}

    def fit(model: Any, data: Any, recipe: Any, **options: Any) -> Any:
        found.update(model=model, data=data, recipe=recipe, **options)
        return make_history()

    def images(folder: Any, classes: int) -> Split:
        found["folder"] = folder
        x, y = torch.zeros(200, 3, 32, 32, dtype=torch.uint8), torch.arange(200) % classes
        return Split((x, y), (x, y))

    monkeypatch.setattr(gradflow, "fit", fit)
    monkeypatch.setattr(gradflow.data, "cifar10", lambda folder: images(folder, 10))
    monkeypatch.setattr(gradflow.data, "cifar100", lambda folder: images(folder, 100))
    return found


@pytest.mark.parametrize(
    "command", [["--help"], ["train", "--help"], ["study", "--help"], ["models", "--help"], ["data"]]
)
def test_help_loads_no_torch(command: list[str]) -> None:
    code = f"""
import sys
from gradflow.cli import main
sys.argv = ["gradflow", *{command}]
try:
    main()
finally:
    sys.stderr.write(" ".join({{"torch", "matplotlib", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Usage: gradflow" in done.stdout


# ── train ──


def test_train_is_fit_with_files(monkeypatch, capsys, in_folder):
    status, out, _ = run(monkeypatch, capsys, *SMALL, "--epochs", 2)
    with seeded(0):
        model = resnet(8, width=4, in_channels=1, size=8)
    expected = gradflow.fit(
        model, gradflow.data.digits(), replace(gradflow.recipes.lecture_digits, epochs=2), progress=False
    )
    folder = Path("runs/resnet8-digits-seed0")
    assert status == 0
    assert gradflow.load(folder / "history.json") == expected
    title, *table = out.splitlines()
    assert title == "resnet8 (3×3 stem, 4,934 parameters) on digits by lecture-digits: 22 steps of 128 images on cpu"
    names = ("history.json", "history.png", "checkpoint.pt")
    assert table == [*repr(expected).splitlines(), *(str(folder / name) for name in names)]
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")

    before = (folder / "history.json").stat()
    status, nothing, err = run(monkeypatch, capsys, *SMALL, "--epochs", 2)
    assert (status, nothing) == (2, "")
    assert "--resume" in err
    assert "--out" in err
    status, again, _ = run(monkeypatch, capsys, *SMALL, "--epochs", 2, "--resume")
    assert (status, again) == (0, out)
    assert (folder / "history.json").stat().st_mtime_ns == before.st_mtime_ns

    status, _, err = run(monkeypatch, capsys, *SMALL, "--epochs", 3, "--resume")
    assert status == 2
    assert "epochs there is 2, here 3" in err
    (folder / "checkpoint.pt").unlink()
    status, _, err = run(monkeypatch, capsys, *SMALL, "--epochs", 2, "--resume")
    assert status == 2
    assert "checkpoint.pt is gone" in err


def test_a_trace_is_kept_and_drawn(monkeypatch, capsys, in_folder):
    status, out, _ = run(monkeypatch, capsys, *SMALL, "--epochs", 1, "--trace-every", 4, "--out", "here", "--resume")
    history = gradflow.load("here/history.json")
    assert status == 0
    assert out.startswith("here holds no run to go on with")
    assert history.traced_steps.tolist() == [0, 4, 8]
    assert history.trace.values.shape == (3, 8, 1)
    assert "here/trace.png" in out.split()
    assert Path("here/trace.png").exists()


@pytest.mark.parametrize(
    ("arguments", "stem", "channels", "classes", "recipe", "steps"),
    [
        (["resnet20"], "3x3", 1, 10, "lecture-digits", 165),
        (["ResNet-20", "--data", "cifar10"], "3x3", 3, 10, "he15-cifar10", 364),
        (["resnet18", "--data", "cifar100"], "3x3", 3, 100, "chapter-cifar100", 400),
        (["resnet18-3x3", "--data", "cifar100"], "3x3", 3, 100, "chapter-cifar100", 400),
        (["resnet18", "--data", "cifar100", "--stem", "imagenet"], "imagenet", 3, 100, "chapter-cifar100", 400),
        (
            ["resnet18", "--data", "cifar100", "--recipe", "chapter-cifar100-224"],
            "imagenet",
            3,
            100,
            "chapter-cifar100-224",
            400,
        ),
        (["plain20", "--data", "cifar100", "--recipe", "wrn", "--epochs", "3"], "3x3", 3, 100, "wrn", 6),
        (["wrn-16-1", "--batch", "50"], "3x3", 1, 10, "lecture-digits", 405),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_the_network_fits_the_data(
    monkeypatch, capsys, in_folder, asked, arguments, stem, channels, classes, recipe, steps
):
    status, out, err = run(monkeypatch, capsys, "train", *arguments)
    assert (status, err) == (0, "")
    assert asked["recipe"].name == recipe
    assert f" {steps} steps of {asked['recipe'].batch} images" in out
    assert asked["model"].built_from["stem"] == stem
    assert asked["model"].stem.conv.in_channels == channels
    assert asked["model"].head.fc.out_features == classes


def test_every_option_arrives(monkeypatch, capsys, in_folder, asked):
    options = {
        **{"--data": "cifar10", "--data-dir": "there", "--recipe": "he16-cifar10", "--epochs": 400, "--lr": 0.5},
        **{"--batch": 32, "--seed": 3, "--width": 4, "--out": "here", "--trace-every": 7, "--device": "cpu"},
        **{"--precision": "bfloat16", "--threads": 2},
    }
    threads, used = torch.get_num_threads(), []
    original = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda count: used.append(count) or original(count))
    flags = ("--fused", "--compile", "--resume")
    status, _, _ = run(monkeypatch, capsys, "train", "resnet8", *(x for pair in options.items() for x in pair), *flags)
    recipe = replace(gradflow.recipes.RECIPES["he16-cifar10"], epochs=400, max_steps=None, lr=0.5, batch=32)
    assert status == 0
    assert asked["recipe"] == recipe
    assert asked["folder"] == Path("there")
    given = ("seed", "trace_every", "device", "precision", "fused", "compile", "resume", "checkpoint")
    wanted = (3, 7, torch.device("cpu"), "bfloat16", True, True, True, Path("here/checkpoint.pt"))
    assert tuple(asked[name] for name in given) == wanted
    assert used == [2, threads]
    with seeded(3):
        other = resnet(8, width=4)
    assert torch.equal(asked["model"].stem.conv.weight, other.stem.conv.weight)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], ["ARCH"]),
        (["train", "alexnet"], ["'alexnet'", "resnet20"]),
        (["train", "resnet9"], ["depth=9", "6n+2"]),
        (["train", "vgg16"], ["vgg16", "not trained"]),
        (["train", "resnet8", "--data", "mnist"], ["digits, cifar10, cifar100", "'mnist'"]),
        (["train", "resnet8", "--recipe", "he15"], ["he15-cifar10", "'he15'"]),
        (["train", "resnet8", "--epochs", "0"], ["--epochs must be at least 1", "0"]),
        (["train", "resnet8", "--batch", "-2"], ["--batch must be at least 1", "-2"]),
        (["train", "resnet8", "--trace-every", "0"], ["--trace-every must be at least 1"]),
        (["train", "resnet8", "--threads", "0"], ["--threads must be at least 1"]),
        (["train", "resnet8", "--epochs", "two"], ["--epochs"]),
        (["train", "resnet8", "--lr", "-1"], ["lr must be positive", "-1.0"]),
        (["train", "resnet8", "--seed", "-1"], ["--seed must be at least 0", "-1"]),
        (["train", "resnet8", "--width", "0"], ["--width must be at least 1"]),
        (["train", "wrn-16-1", "--width", "4"], ["width in its name", "--width 4"]),
        (["train", "resnet8", "--stem", "5x5"], ["3x3, imagenet", "5x5"]),
        (["train", "resnet8", "--device", "gpu"], ["cpu", "'gpu'"]),
        (["train", "resnet8", "--device", "cuda:99"], ["cuda:99", "auto"]),
        (["train", "resnet8", "--data-dir", "x"], ["embedded", "--data-dir x"]),
        (["train", "resnet8", "--data", "cifar10"], ["no-data-here", "gradflow data fetch cifar10"]),
        (["train", "resnet8", "--data", "cifar100", "--data-dir", "nowhere"], ["nowhere", "cifar-100-python.tar.gz"]),
        (["study", "nonsense"], ["he15-figure6", "'nonsense'"]),
        (["study", "digits", "--epochs", "0"], ["--epochs must be at least 1", "0"]),
        (["study", "digits", "--seeds", "0"], ["--seeds must be at least 1", "0"]),
        (["study", "digits", "--jobs", "0"], ["--jobs must be auto", "'0'"]),
        (["study", "digits", "--threads", "many"], ["--threads must be auto", "'many'"]),
        (["study", "digits", "--device", "gpu"], ["cpu", "'gpu'"]),
        (["study", "digits", "--data-dir", "x"], ["embedded", "--data-dir x"]),
        (["study", "he15-figure6"], ["no-data-here", "gradflow data fetch cifar10"]),
        (["data", "fetch"], ["NAME"]),
        (["data", "fetch", "mnist"], ["cifar10, cifar100", "'mnist'"]),
        (["data", "check", "mnist"], ["cifar10, cifar100", "'mnist'"]),
        (["data", "mend"], ["mend"]),
        (["models", "alexnet"], ["'alexnet'", "resnet20"]),
    ],
    ids=lambda value: "-".join(value) if value[0] in ("train", "study", "data", "models") else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing(monkeypatch, capsys, in_folder, arguments, words):
    status, out, err = run(monkeypatch, capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("gradflow: ")
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize(("options", "word"), [(["--precision", "float8"], "bfloat16"), (["--out", "file"], "folder")])
def test_what_fit_refuses_is_one_line_too(monkeypatch, capsys, in_folder, options, word):
    Path("file").write_text("")
    status, _, err = run(monkeypatch, capsys, *SMALL, *options)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert word in err


def test_a_run_that_diverges_is_one_line_and_status_1(monkeypatch, capsys, in_folder):
    status, _, err = run(monkeypatch, capsys, *SMALL, "--lr", 1e30)
    assert status == 1
    assert err.splitlines()[-1].startswith("gradflow: the training loss is nan at step 1")
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [SMALL, ("study", "digits")], ids=["train", "study"])
def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys, in_folder, command):
    def interrupted(*_, **__):
        raise KeyboardInterrupt("stopped; --resume goes on")

    monkeypatch.setattr(gradflow, "fit", interrupted)
    monkeypatch.setattr(plans, "study", interrupted)
    status, _, err = run(monkeypatch, capsys, *command)
    assert status == 130
    assert err.splitlines()[-1] == "gradflow: stopped; --resume goes on"


def test_of_several_processes_one_complains(monkeypatch, capsys, in_folder):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run(monkeypatch, capsys, "train", "resnet9") == (2, "", "")


@pytest.mark.slow
def test_ctrl_c_and_resume(monkeypatch, capsys, in_folder):
    command = [*map(str, SMALL), "--epochs", "10", "--out", "cut"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gradflow", *command], stderr=subprocess.PIPE, text=True, env=ONE_THREAD
    )
    seen = ""
    while "epoch 2/10" not in seen:
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    last = process.communicate(timeout=60)[1].splitlines()[-1]
    assert process.returncode == 130
    assert last.startswith("gradflow: stopped after step ")
    assert "cut/checkpoint.pt" in last
    assert "--resume" in last
    assert not Path("cut/history.json").exists()
    steps = torch.load("cut/checkpoint.pt", weights_only=True)["state"]["step"]
    assert f"stopped after step {steps} of 110;" in last
    assert run(monkeypatch, capsys, *command, "--resume")[0] == 0
    assert gradflow.load("cut/history.json").steps.tolist() == [11 * epoch for epoch in range(11)]


WITHOUT_NORM = """
from torch import nn
from gradflow.models import resnet

def make(**options):
    net = resnet(8, **options)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return net
"""

PROGRAM = f"""{WITHOUT_NORM}
import dataclasses
from gradflow import cli
from gradflow.models import ARCHITECTURES, architectures

architectures.architecture = lambda name: dataclasses.replace(ARCHITECTURES["resnet20"], name=name, make=make)
cli.main()
"""


@pytest.mark.slow
def test_two_processes_train_like_one(in_folder):
    Path("program.py").write_text(PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = ["program.py", "train", "bare", "--epochs", "2", "--lr", "0.02", "--out", "out"]
    done = subprocess.run(
        [sys.executable, *launcher, *command], capture_output=True, text=True, check=False, env=ONE_THREAD
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("History:") == 1
    namespace: dict[str, Any] = {}
    exec(WITHOUT_NORM, namespace)
    with seeded(0):
        net = namespace["make"](in_channels=1, size=8)
    recipe = replace(gradflow.recipes.lecture_digits, epochs=2, lr=0.02)
    one = gradflow.fit(net, gradflow.data.digits(), recipe, progress=False)
    two = gradflow.load("out/history.json")
    assert two.provenance["processes"] == 2
    assert one.train_error[-1] < 0.7
    for curve in ("train_loss", "test_loss"):
        assert getattr(two, curve) == pytest.approx(getattr(one, curve), rel=1e-4)


# ── study ──


@pytest.mark.parametrize("command", [["study"], ["study", "list"]])
def test_the_studies_are_listed(monkeypatch, capsys, in_folder, command):
    status, out, _ = run(monkeypatch, capsys, *command)
    header, *rows = out.splitlines()
    assert status == 0
    assert header.split() == ["name", "runs", "data", "recipe", "what", "it", "shows"]
    assert [row.split()[0] for row in rows] == list(plans.PLANS)
    [figure] = [row for row in rows if row.startswith("he15-figure6 ")]
    assert figure.split()[1:5] == ["10", "cifar10", "he15-cifar10,", "he15-cifar10-warmup"]
    assert figure.endswith(plans.PLANS["he15-figure6"].title)


def net(depth: int, kind: str) -> Any:
    if kind == "broken":
        raise ValueError("such a net cannot be")
    return plans.digits_net(depth, kind)


def test_a_study_prints_its_table_and_goes_on(monkeypatch, capsys, in_folder):
    tiny = replace(plans.PLANS["digits"], build=net, grid=({"depth": (8,), "kind": ("plain", "residual")},))
    monkeypatch.setitem(plans.PLANS, "tiny", tiny)
    command = ("study", "tiny", "--epochs", 1, "--seeds", 2, "--jobs", 1)
    status, out, _ = run(monkeypatch, capsys, *command)
    study = gradflow.load("studies/tiny/study.json")
    assert status == 0
    assert out == f"{study!r}\nstudies/tiny/study.json\n"
    settings = [(one["kind"], one["seed"], one["epochs"]) for one in study.settings]
    assert settings == [("plain", 0, 1), ("plain", 1, 1), ("residual", 0, 1), ("residual", 1, 1)]

    monkeypatch.setitem(plans.PLANS, "tiny", replace(tiny, grid=({"depth": (8,), "kind": ("plain", "broken")},)))
    status, out, _ = run(monkeypatch, capsys, *command)
    study = gradflow.load("studies/tiny/study.json")
    assert status == 1
    assert len(study.histories) == 2
    assert len(study.failures) == 2
    assert out == f"{study!r}\nstudies/tiny/study.json\n"
    assert "such a net cannot be" in out

    monkeypatch.setitem(plans.PLANS, "tiny", replace(tiny, grid=({"depth": (8,), "kind": ("broken",)},)))
    status, out, err = run(monkeypatch, capsys, *command)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("gradflow: every run failed")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"folder": Path("studies/he15-figure6"), "jobs": "auto", "threads": 1, "cluster": None}),
        (["--dask", "tcp://x:1"], {"jobs": 1, "cluster": "tcp://x:1"}),
        (["--jobs", "3", "--threads", "auto", "--out", "o"], {"jobs": 3, "threads": "auto", "folder": Path("o")}),
        (["--device", "cpu", "--data-dir", "d"], {"device": "cpu", "data_folder": Path("d"), "epochs": None}),
        (["--epochs", "2", "--seeds", "5"], {"epochs": 2, "seeds": 5, "device": "auto", "data_folder": None}),
    ],
)
def test_a_study_gets_its_options(monkeypatch, capsys, in_folder, make_study, options, expected):
    asked = {}

    def run_plan(name, **given):
        asked.update(name=name, **given)
        return make_study()

    monkeypatch.setattr(plans, "run_plan", run_plan)
    assert run(monkeypatch, capsys, "study", "he15-figure6", *options)[0] == 0
    assert asked["name"] == "he15-figure6"
    assert {name: asked[name] for name in expected} == expected


# ── data ──


def test_data_check_tells_missing_and_altered_files(monkeypatch, capsys, in_folder):
    status, out, _ = run(monkeypatch, capsys, "data", "check")
    assert status == 1
    assert out.count("missing") == 2
    assert "gradflow data fetch cifar100" in out
    Path("there").mkdir()
    Path("there/cifar-10-python.tar.gz").write_bytes(b"not an archive")
    status, out, _ = run(monkeypatch, capsys, "data", "check", "cifar10", "--data-dir", "there")
    assert status == 1
    assert "altered" in out
    assert "c58f30108f718f92721af3b95e74349a" in out, "the published md5"
    assert hashlib.md5(b"not an archive").hexdigest() in out
    assert "cifar100" not in out


def test_data_check_of_whole_files(monkeypatch, capsys, in_folder):
    asked = []

    def check(name, folder):
        asked.append((name, folder))
        return DataCheck(name, Path("f"), (FileCheck(Path("f/a"), "1" * 32, "1" * 32),), "advice")

    monkeypatch.setattr(gradflow.data, "check", check)
    status, out, _ = run(monkeypatch, capsys, "data", "check")
    assert status == 0
    assert out.splitlines()[0] == "cifar10 in f: ok"
    assert asked == [("cifar10", None), ("cifar100", None)]


def test_data_fetch(monkeypatch, capsys, in_folder):
    monkeypatch.setattr(gradflow.data, "fetch", lambda name, folder: Path(str(folder)) / name)
    assert run(monkeypatch, capsys, "data", "fetch", "cifar10", "--data-dir", "d") == (0, "d/cifar10\n", "")
    assert run(monkeypatch, capsys, "data", "fetch", "cifar100") == (0, "None/cifar100\n", "")


# ── models ──


def test_models_are_listed_with_published_sizes(monkeypatch, capsys):
    few = {name: ARCHITECTURES[name] for name in ("resnet18", "resnet20", "vgg16")}
    monkeypatch.setattr(gradflow.models, "ARCHITECTURES", few)
    status, out, _ = run(monkeypatch, capsys, "models")
    header, *rows, note = out.splitlines()
    assert status == 0
    assert header.split() == ["name", "input", "parameters", "multiply-adds", "FLOPs", "from"]
    cells = {row.split()[0]: row.split()[1:5] for row in rows}
    assert list(cells) == list(few)
    assert cells["resnet18"] == ["3×224×224", "11,689,512", "1,814,073,344", "3,628,146,688"]
    assert cells["resnet20"][:2] == ["3×32×32", "269,722"]
    assert cells["vgg16"][1] == "138,357,544"
    assert [("not trained" in row) for row in rows] == [False, False, True]
    assert "2·C_in·K²·H·W·C_out" in note


def test_models_with_a_name_counts_every_layer(monkeypatch, capsys):
    status, out, _ = run(monkeypatch, capsys, "models", "ResNet-8")
    _, *rows, total, _ = out.splitlines()
    layers = [module for module in resnet(8).modules() if list(module.parameters(recurse=False))]
    numbers = [[int(cell.replace(",", "")) for cell in row.split()[2:5]] for row in rows]
    assert status == 0
    assert len(rows) == len(layers)
    assert [row[0] for row in numbers] == [sum(p.numel() for p in layer.parameters()) for layer in layers]
    assert all(flops == 2 * adds for _, adds, flops in numbers)
    assert numbers[0] == [16 * 27, 16 * 27 * 32**2, 2 * 16 * 27 * 32**2]
    assert [int(cell.replace(",", "")) for cell in total.split()[1:4]] == [
        sum(column) for column in zip(*numbers, strict=True)
    ]
