"""study() against fit(): the same numbers from a folder, after a kill, from two processes, and from a cluster."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import example, given
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor
from torch import Tensor, nn

from gradflow import fit, load, study
from gradflow.data import Split
from gradflow.models import fc_stack
from gradflow.results import Study
from gradflow.seeding import seeded
from gradflow.training import plans, studying
from gradflow.training.recipes import Recipe

RECIPE = Recipe(name="tiny", batch=16, epochs=3, lr=0.05)
STEPS = 9
GRID = {"depth": (3, 4), "shortcut": (None, 1.0), "seed": (0, 1)}


def tiny() -> Split:
    """Two sets of 40 samples of 6 features, whose class is where the largest of the first three is."""
    note("load")
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(1))
    y = x[:, :3].argmax(1)
    return Split((x[:40], y[:40]), (x[40:], y[40:]))


def build(depth: int, shortcut: float | None = None) -> nn.Module:
    return fc_stack(depth, 6, out_features=3, shortcut=shortcut)


class Watched(nn.Module):
    """A net that writes down each training step, takes its time, and does what a test wants at a step."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth, self.net = depth, build(depth)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            note(f"step {self.depth}")
            time.sleep(float(os.environ.get("PAUSE", 0)))
            happening(self.depth)
        return self.net(x)


def happening(depth: int) -> None:
    """What happens at a training step; tests put something else here."""


def watched(depth: int) -> nn.Module:
    note(f"start {depth}")
    return Watched(depth)


def note(what: str) -> None:
    if "LOG" in os.environ:
        with open(os.environ["LOG"], "a") as file:
            file.write(f"{what} {os.getpid()}\n")


def run(folder: Path | None, depths: tuple[int, ...] = (3, 4, 5), **options: Any) -> Study:
    """The study of most tests here, with a checkpoint after every step."""
    options = {"progress": False, "checkpoint_every": 0.0, **options}
    return study(watched, {"depth": depths}, tiny, RECIPE, folder=folder, **options)


Log = Callable[[], list[tuple[str, ...]]]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """What was noted so far, by this process and others: (what, depth, process)."""
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(studying, "_PATIENCE", 0.02)
    return lambda: [tuple(line.split()) for line in (tmp_path / "log").read_text().splitlines()]


def counts(log: Log, what: str) -> Counter[str]:
    return Counter(line[1] for line in log() if line[0] == what)


# ── the grid ──


def test_study_is_fit_over_the_grid_in_order() -> None:
    result = study(build, GRID, tiny(), RECIPE, progress=False, evaluate_every=3)
    assert [tuple(setting.values()) for setting in result.settings] == [
        (depth, shortcut, seed) for depth in (3, 4) for shortcut in (None, 1.0) for seed in (0, 1)
    ]
    for setting, history in zip(result.settings, result.histories, strict=True):
        with seeded(setting["seed"]):
            model = build(setting["depth"], setting["shortcut"])
        assert history == fit(model, tiny(), RECIPE, seed=setting["seed"], progress=False, evaluate_every=3)
    assert result.select(depth=4, seed=1) == [result.histories[5], result.histories[7]]
    errors = result.final(depth=3, shortcut=None)
    assert errors.tolist() == [run.test_error[-1] for run in result.histories[:2]]
    assert len({history.train_loss[-1] for history in result.histories}) == 8
    assert result.failures == ()


def test_settings_may_change_the_recipe_and_grids_may_follow_each_other() -> None:
    grids = [{"depth": (3,), "lr": (0.01, 0.02)}, {"depth": (4,), "epochs": (1,), "trace_every": (3,)}]
    result = study(lambda depth: build(depth), grids, tiny(), RECIPE, progress=False)
    for setting, history in zip(result.settings, result.histories, strict=True):
        with seeded(0):
            model = build(setting["depth"])
        changes = {name: setting[name] for name in ("lr", "epochs") if name in setting}
        recipe = dataclasses.replace(RECIPE, **changes)
        assert history == fit(model, tiny(), recipe, progress=False, trace_every=setting.get("trace_every"))
    part = result.subset(depth=3)
    assert (part.settings, part.histories) == (result.settings[:2], result.histories[:2])


def test_recipes_by_name_and_fields_on_top() -> None:
    grid = {"depth": (3,), "recipe": ("lecture-digits", "wrn"), "epochs": (1,), "augment": ((),)}
    recipes = [one.provenance["recipe"] for one in study(build, grid, tiny(), RECIPE, progress=False).histories]
    assert [(one["name"], one["epochs"], one.get("nesterov")) for one in recipes] == [
        ("lecture-digits", 1, None),
        ("wrn", 1, True),
    ]


@pytest.mark.parametrize("values", [[3, 4], range(3, 5), np.array([3, 4]), torch.tensor([3, 4])])
def test_values_of_a_setting_are_any_sequence(values: Any, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    result = study(build, {"depth": values}, tiny(), recipe, folder=tmp_path, progress=False)
    assert result == study(build, {"depth": (3, 4)}, tiny(), recipe, progress=False)
    assert [type(setting["depth"]) for setting in result.settings] == [int, int]


def test_study_without_seeds_uses_seed_0() -> None:
    result, seeded_one = (
        study(build, {"depth": (3,), **seed}, tiny(), RECIPE, progress=False) for seed in ({}, {"seed": (0,)})
    )
    assert result.histories == seeded_one.histories
    assert dict(result.settings[0]) == {"depth": 3}


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def watch(depth: int) -> nn.Module:
        seen.append(torch.get_num_threads())
        if depth == 9:
            raise ArithmeticError("broken on purpose")
        return build(depth)

    try:
        torch.set_num_threads(2)
        result = study(watch, {"depth": (3,)}, tiny(), RECIPE, threads=1, progress=False)
        assert torch.get_num_threads() == 2
        with pytest.raises(ArithmeticError):
            study(watch, {"depth": (9,)}, tiny(), RECIPE, threads=1, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]
    assert result.provenance["threads"] == 1
    assert result.histories[0].provenance["threads"] == 1


# ── a folder ──


def test_a_folder_keeps_what_is_finished(tmp_path: Path, log: Log) -> None:
    plain = run(None, (3, 4))
    first = run(tmp_path / "s", (3, 4))
    assert first == plain
    assert load(tmp_path / "s" / "study.json") == first
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["depth-3", "depth-4", "study.json"]
    left = {path.name for path in (tmp_path / "s" / "depth-3").iterdir()}
    assert left == {"history.json", "setting.json", "lock"}, "the checkpoint takes room and is of no more use"
    started = counts(log, "start")
    assert run(tmp_path / "s", (3, 4)) == first
    assert counts(log, "start") == started
    more = run(tmp_path / "s", (5, 4))
    assert counts(log, "start") - started == {"5": 1}
    assert [setting["depth"] for setting in more.settings] == [5, 4]
    assert more.histories[1] == first.histories[1]


def test_data_of_a_function_are_loaded_once(log: Log) -> None:
    assert run(None) == study(watched, {"depth": (3, 4, 5)}, tiny(), RECIPE, progress=False)
    assert len([line for line in log() if line[0] == "load"]) == 2


def test_an_interrupted_run_goes_on(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(depth: int) -> None:
        if depth == 4 and counts(log, "step")["4"] == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "happening", interrupt)
        with pytest.raises(KeyboardInterrupt, match="the same call goes on from"):
            run(tmp_path)
    assert (tmp_path / "depth-4" / "checkpoint.pt").exists()
    result = run(tmp_path)
    assert counts(log, "step") == {"3": STEPS, "4": STEPS + 1, "5": STEPS}
    assert result == run(None)


def test_a_failed_run_is_told_and_tried_again(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(depth: int) -> None:
        if depth == 4 and counts(log, "step")["4"] == 5:
            raise MemoryError("no room at step 4")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "happening", fail)
        partial_study = run(tmp_path, (3, 4))
    failure = {"setting": {"depth": 4}, "error": "MemoryError", "message": "no room at step 4", "step": 4}
    assert partial_study.failures == (failure,)
    assert partial_study.settings == ({"depth": 3},)
    assert "failed: depth 4: MemoryError: no room at step 4" in repr(partial_study)
    assert load(tmp_path / "study.json") == partial_study
    assert partial_study.subset(depth=3).failures == ()
    assert "no room" in json.loads((tmp_path / "depth-4" / "failure.json").read_text())["traceback"][-1]
    assert run(tmp_path, (3, 4)) == run(None, (3, 4))
    assert not (tmp_path / "depth-4" / "failure.json").exists()


def test_divergence_is_a_failure_with_its_step(tmp_path: Path) -> None:
    result = study(build, {"depth": (4,), "lr": (1e30, 0.05)}, tiny(), RECIPE, folder=tmp_path, progress=False)
    (failure,) = result.failures
    assert failure["error"] == "FloatingPointError"
    assert f"at step {failure['step']}" in failure["message"]
    assert 1 <= failure["step"] <= STEPS
    with pytest.raises(RuntimeError, match=r"every run failed; the first, .*1e\+30.*FloatingPointError: the .*loss"):
        study(build, {"depth": (4,), "lr": (1e30, 1e31)}, tiny(), RECIPE, folder=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": dataclasses.replace(RECIPE, epochs=4)}, "recipe epochs there is 3, here 4"),
        ({"build": partial(build, shortcut=0.5)}, r"build there is 'build', here 'build\(shortcut=0.5\)'"),
        ({"data": lambda: Split(tiny().test, tiny().train)}, "data train x there is"),
        ({"evaluate_every": 2}, "options evaluate_every there is 1, here 2"),
    ],
)
def test_a_folder_of_another_study_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    given = {"build": build, "grid": {"depth": (3,)}, "data": tiny, "recipe": RECIPE, "folder": tmp_path}
    first = study(**given, progress=False)
    history = tmp_path / "depth-3" / "history.json"
    before = history.stat().st_mtime_ns
    with pytest.raises(ValueError, match=f"holds another run: {words}.*Choose another folder"):
        study(**{**given, **change, "grid": {"depth": (5, 3)}}, progress=False)
    assert history.stat().st_mtime_ns == before
    assert not (tmp_path / "depth-5").exists(), "it is said before any run"
    assert study(**given, progress=False, checkpoint_every=5.0, device="cpu", evaluate_every=1) == first


# ── several processes ──


def elsewhere(call: str, **environment: str) -> subprocess.Popen[bytes]:
    """A real process that calls something of this file."""
    code = f"from pathlib import Path; import test_study; {call}"
    return subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, env={**os.environ, **environment})


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def test_a_killed_study_is_finished_by_the_same_call(tmp_path: Path, log: Log) -> None:
    (tmp_path / "log").touch()
    process = elsewhere(f"test_study.run(Path({str(tmp_path / 's')!r}))", PAUSE="0.1")
    until(lambda: counts(log, "step")["4"] == 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "s" / "depth-4" / "history.json").exists()
    result = run(tmp_path / "s")
    assert counts(log, "start") == {"3": 1, "4": 2, "5": 1}
    assert counts(log, "step")["4"] <= STEPS + 1, "it went on from its checkpoint"
    assert result == run(None)


def meet(folder: Path, name: str) -> None:
    """Wait for the other process, then run the study with it, and save what comes out."""
    (folder / f"{name}.ready").touch()
    until(lambda: len(list(folder.glob("*.ready"))) == 2)
    run(folder / "s", (3, 4, 5, 6)).save(folder / f"{name}.json")


def test_two_processes_share_one_folder(tmp_path: Path, log: Log) -> None:
    both = [elsewhere(f"test_study.meet(Path({str(tmp_path)!r}), {name!r})", PAUSE="0.05") for name in ("a", "b")]
    assert [process.wait() for process in both] == [0, 0]
    assert counts(log, "start") == {"3": 1, "4": 1, "5": 1, "6": 1}
    assert len({process for what, *_, process in log() if what == "start"}) == 2, "both had their share"
    assert load(tmp_path / "a.json") == load(tmp_path / "b.json") == run(None, (3, 4, 5, 6))


@pytest.mark.parametrize("other", ["dies", "finishes", "fails"])
def test_a_run_of_another_process_is_waited_for(other: str, tmp_path: Path, log: Log) -> None:
    finished = run(tmp_path / "other", (3, 4))
    run(tmp_path / "s", (4,))
    home = tmp_path / "s" / "depth-3"
    home.mkdir()
    lock = FileLock(home / "lock", thread_local=False)
    started = counts(log, "start")

    def end() -> None:
        if other == "finishes":
            finished.histories[0].save(home / "history.json")
        if other == "fails":
            (home / "failure.json").write_text('{"error": "KeyError", "message": "x", "step": null, "traceback": []}')
        lock.release()

    lock.acquire()
    threading.Timer(0.3, end).start()
    result = run(tmp_path / "s", (3, 4))
    assert counts(log, "start") - started == ({"3": 1} if other == "dies" else {})
    if other == "fails":
        assert [failure["error"] for failure in result.failures] == ["KeyError"]
        assert run(tmp_path / "s", (3, 4)) == finished, "a later call tries it again"
    else:
        assert result == finished


@pytest.mark.slow
def test_two_jobs_give_what_one_gives(tmp_path: Path, log: Log) -> None:
    # Workers that an earlier test left would write to the log of that test.
    get_reusable_executor().shutdown(wait=True)

    def net(depth: int, shortcut: float | None) -> nn.Module:  # a local function travels by value
        from gradflow.models import fc_stack

        return fc_stack(depth, 6, out_features=3, shortcut=shortcut)

    one, two = (study(net, GRID, tiny(), RECIPE, jobs=jobs, progress=False) for jobs in (1, 2))
    assert one == two
    (tmp_path / "log").write_text("")
    assert run(tmp_path / "s", (3, 4, 5, 6), jobs=2) == run(None, (3, 4, 5, 6))
    loads = Counter(process for what, *_, process in log() if what == "load")
    assert loads.pop(str(os.getpid())) == 2, "here for its checksum, and for the study of one job"
    assert set(loads.values()) == {1}, "once in each of the others"
    starts = [line for line in log() if line[0] == "start"]
    for worker in loads:
        own = [depth for _, depth, process in starts if process == worker]
        assert own == sorted(own, reverse=True), "the longest first"


@pytest.mark.slow
def test_a_run_goes_on_when_a_worker_of_the_cluster_dies(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PAUSE", "0.1")
    (tmp_path / "log").touch()
    killed: list[tuple[str, ...]] = []

    def kill() -> None:
        until(lambda: max(counts(log, "step").values(), default=0) >= 5)
        killed.append(next(line for line in log() if line[0] == "step"))
        os.kill(int(killed[0][-1]), signal.SIGKILL)

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**options, silence_logs=False) as cluster:
        killer = threading.Thread(target=kill)
        killer.start()
        result = run(tmp_path / "s", (3, 4, 5, 6), cluster=cluster.scheduler_address)
        killer.join()
    monkeypatch.setenv("PAUSE", "0")
    depth = killed[0][1]
    assert counts(log, "start")[depth] == 2
    assert counts(log, "step")[depth] <= STEPS + 1, "it went on from its checkpoint"
    assert {start for start in counts(log, "start") if start != depth} == {"3", "4", "5", "6"} - {depth}
    assert result == run(None, (3, 4, 5, 6))


@pytest.mark.parametrize(
    ("jobs", "threads", "runs", "found"),
    [
        (1, 1, 6, (1, 1)),
        (3, 2, 6, (3, 2)),
        ("auto", 1, 6, (6, 1)),
        ("auto", "auto", 99, (8, 1)),
        ("auto", "auto", 3, (3, 2)),
        ("auto", 3, 9, (2, 3)),
        ("auto", 99, 9, (1, 99)),
        (2, "auto", 6, (2, 4)),
        (99, "auto", 6, (99, 1)),
    ],
)
def test_processes_and_threads_fit_the_cores(
    jobs: Any, threads: Any, runs: int, found: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studying, "_cores", lambda: 8)
    assert studying._division(jobs, threads, None, runs, "cpu") == found


# ── names ──

values = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=60)),
    st.sampled_from(
        ["a", "A", "1", "1.0", "none", "None", "true", "x_y", "x-1", "a_b-1", "é", "", "CON", 1, True, 1.0]
    ),
    st.tuples(st.integers(0, 1), st.text(max_size=2)),
)
settings = st.dictionaries(st.sampled_from(["a", "b", "a_b", "B", "lam", "x-y"]) | st.text(max_size=8), values)


@given(settings, settings)
@example({"a": None}, {"a": "none"})
@example({"a": True}, {"a": 1})
@example({"a": 1}, {"a": "1"})
@example({"a": "b_c-d"}, {"a": "b", "c": "d"})
@example({"a": "B"}, {"a": "b"})
def test_names_of_folders_are_safe_and_tell_all_settings_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    names = [studying.folder_name(setting) for setting in (one, other)]
    assert all(len(name) <= 111 and not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789._+-") for name in names)
    assert (names[0] == names[1]) == (repr(sorted(one.items())) == repr(sorted(other.items())))
    assert studying.folder_name(dict(reversed(one.items()))) == names[0]


def test_names_of_folders_can_be_read() -> None:
    setting = {"kind": "plain", "seed": np.int64(0), "depth": 20, "lam": 0.5, "weight_decay": 1e-5, "shortcut": None}
    assert studying.folder_name(setting) == "depth-20_kind-plain_lam-0.5_seed-0_shortcut-none_weight_decay-1e-05"
    assert studying.folder_name({"kind": "Plain!", "lam": math.inf}).startswith("kind-plain-_lam-inf_")


# ── bad input ──


@pytest.mark.parametrize("grid", [{}, {"depth": ()}, {"depth": (3,), "seed": ()}, [], {"depth": np.array([])}])
def test_empty_grids(grid: Any) -> None:
    with pytest.raises(ValueError, match="grid needs"):
        study(build, grid, tiny(), RECIPE, progress=False)


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (ValueError, "jobs must be a whole number .* got jobs=0", {"jobs": 0}),
        (ValueError, "jobs must be a whole number .* got jobs='many'", {"jobs": "many"}),
        (ValueError, "threads must be a whole number .* got threads=1.5", {"threads": 1.5}),
        (ValueError, "leave out jobs; got jobs=2", {"jobs": 2, "cluster": "tcp://127.0.0.1:1"}),
        (ValueError, 'device must be "auto"', {"device": "tpu9"}),
        (ValueError, "recipe in a grid must be one of lecture-digits, .*; got 'x'", {"grid": {"recipe": ("x",)}}),
        (ValueError, "resume cannot be in a grid; folder= keeps", {"grid": {"resume": (True,)}}),
        (TypeError, r"got kind='residual': write kind=\['residual'\]", {"grid": {"depth": (3,), "kind": "residual"}}),
        (TypeError, r"to a sequence of values; got depth=8: write depth=\[8\]", {"grid": {"depth": 8}}),
        (TypeError, r"got depth=None: write depth=\[None\]", {"grid": [{"depth": (3,)}, {"depth": None}]}),
        (TypeError, r"got depth=\{3\}: make it a list", {"grid": {"depth": {3}}}),
        (TypeError, r"got depth=array\(3\): make it a list", {"grid": {"depth": np.array(3)}}),
        (TypeError, "grid must be a dict, .* list of dicts; got 'depth'", {"grid": "depth"}),
        (TypeError, "grid must be a dict, .* list of dicts; got None", {"grid": None}),
        (TypeError, r"recipe must be a Recipe, e.g. gradflow\.recipes\.wrn; got 'wrn'", {"recipe": "wrn"}),
        (TypeError, "options of fit for all runs are device, .*; got eval_every", {"eval_every": 2}),
        (TypeError, "data must be .* function without arguments", {"data": [1]}),
        (ValueError, "folder must be a folder; .*test_study.py is a file", {"folder": __file__}),
        (ValueError, "got shortcut=<function.*give a name", {"grid": {"depth": (3,), "shortcut": (build,)}}),
    ],
)
def test_bad_input_is_refused_before_any_run(
    error: type[Exception], words: str, change: dict[str, Any], tmp_path: Path
) -> None:
    def never(**arguments: Any) -> nn.Module:
        raise AssertionError("built")

    given = {"build": never, "grid": {"depth": (3,)}, "data": tiny(), "recipe": RECIPE, "folder": tmp_path / "s"}
    with pytest.raises(error, match=words):
        study(**{**given, **change}, progress=False)
    assert not (tmp_path / "s").exists()


def test_a_cluster_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'gradflow-toolkit\[cluster\]'"):
        study(build, {"depth": (3,)}, tiny(), RECIPE, cluster="tcp://127.0.0.1:1", progress=False)


# ── plans ──


@pytest.mark.parametrize(
    ("name", "runs", "setting", "weights"),
    [
        # He15 Table 6 and REFERENCE §6; the 3×3 stem has 64·3·(49 − 9) weights less than the 7×7 one.
        ("he15-figure6", 10, {"depth": 20, "kind": "residual"}, 269_722),
        ("he15-figure6", 10, {"depth": 110, "kind": "plain"}, 1_727_962),
        ("he15-figure6-small", 6, {"depth": 8, "kind": "plain", "width": 8}, None),
        ("chapter-resnet18", 3, {"kind": "residual"}, 11_227_812 - 64 * 3 * (49 - 9)),
        ("chapter-resnet18-small", 3, {"kind": "plain", "width": 8}, None),
        ("digits", 6, {"depth": 56, "kind": "plain"}, None),
    ],
)
def test_plans_build_their_nets(name: str, runs: int, setting: dict[str, Any], weights: int | None) -> None:
    plan = plans.PLANS[name]
    every = [
        studying._run_of(plan.build, one, studying._Source(plan.data), plan.recipe, {}, 1)
        for one in studying._settings(plan.grid)
    ]
    assert len({studying.folder_name(one.setting) for one in every}) == runs
    assert pickle.loads(pickle.dumps(plan)) == plan
    chosen = [one for one in every if setting.items() <= one.arguments.items()]
    net = plan.build(**chosen[0].arguments)
    if weights is not None:
        assert sum(parameter.numel() for parameter in net.parameters()) == weights
    for one in every:
        assert (one.recipe.warmup_lr is not None) == (one.setting.get("depth") == 110), "as in He15 §4.2"
        assert one.recipe.epochs == {"he15-figure6-small": 6, "chapter-resnet18-small": 4}.get(name, plan.recipe.epochs)


def test_run_plan_is_the_study_of_the_plan(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    plan = plans.Plan(
        title="tiny",
        build=watched,
        grid=({"depth": (3,), "seed": (0,)}, {"depth": (4,), "lr": (0.1,), "seed": (0,)}),
        recipe=RECIPE,
        data=lambda folder=None: asked.append(folder) or tiny(),
    )
    monkeypatch.setitem(plans.PLANS, "tiny", plan)
    given = {"epochs": 2, "seeds": 2, "device": "cpu", "progress": False}
    result = plans.run_plan("tiny", folder=tmp_path / "s", data_folder=tmp_path, **given)
    longer = [{**grid, "epochs": (2,), "seed": (0, 1)} for grid in plan.grid]
    assert result == study(watched, longer, tiny(), RECIPE, progress=False)
    assert asked == [tmp_path]
    with pytest.raises(ValueError, match=r"plan must be one of he15-figure6, .*, tiny; got 'x'"):
        plans.run_plan("x", folder=tmp_path)
    with pytest.raises(ValueError, match=r"leave out data_folder"):
        plans.run_plan("digits", folder=tmp_path, data_folder=tmp_path)
    for name in ("epochs", "seeds"):
        with pytest.raises(ValueError, match=rf"{name} must be a whole number of at least 1; got {name}=0"):
            plans.run_plan("digits", folder=tmp_path, **{name: 0})
