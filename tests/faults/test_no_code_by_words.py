"""No words run code that was not installed: each way is refused before anything is written, and works unrefused."""

import contextlib
import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gantrain import __main__ as entry
from gantrain import trusted
from gantrain.cli import compose_with_hydra
from gantrain.sweeps.job import Job
from tests.conftest import TINY

CANARY = "canary"
TOUCH = "pathlib.Path.touch"
IN_YAML = f"{{_target_: {TOUCH}, _args_: [{CANARY}]}}"
MODULE = {"evil/__init__.py": f"open({CANARY!r}, 'w').close()\n"}
ROOT = "hydra.job_logging.root={level:INFO,handlers:[]}"


def building(section: str) -> tuple[str, str]:
    return f"+hydra.{section}._target_={TOUCH}", f"+hydra.{section}._args_=[{CANARY}]"


@dataclass
class Way:
    """Words, the files that they need, what the refusal names, and whether they would make the canary unrefused."""

    words: tuple[str, ...]
    told: str
    files: dict[str, str] = field(default_factory=dict)
    live: bool = False
    needs: str = "hydra"


WHOLE = "defaults: [/config, _self_]\nhydra: {callbacks: {x: " + IN_YAML + "}}\n"
GLOBAL = "# @package _global_\nhydra: "
WAYS = {
    "launcher": Way(("-m", "seed=0,1", *building("launcher.x")), "hydra.launcher.x._target_", live=True),
    "launcher itself": Way(("-m", "seed=0,1", f"hydra.launcher._target_={TOUCH}"), "hydra.launcher._target_"),
    "sweeper": Way(("-m", "seed=0,1", *building("sweeper.x")), "hydra.sweeper.x._target_", live=True),
    "sweeper without -m": Way(("hydra.mode=MULTIRUN", *building("sweeper.x")), "hydra.sweeper.x._target_", live=True),
    "sampler": Way(
        (
            "-m",
            "data=ring",
            "hydra/sweeper=optuna",
            "optimizer.lr_g=interval(1e-5,1e-3)",
            *building("sweeper.sampler.x"),
        ),
        "hydra.sweeper.sampler.x._target_",
        live=True,
        needs="hydra_plugins.hydra_optuna_sweeper",
    ),
    "search space": Way(
        ("-m", "seed=0,1", "hydra/sweeper=optuna", "hydra.sweeper.custom_search_space=evil.x"),
        "hydra.sweeper.custom_search_space='evil.x'",
        needs="hydra_plugins.hydra_optuna_sweeper",
    ),
    "pickles in a store": Way(
        ("-m", "seed=0,1", "hydra/sweeper=optuna", "hydra.sweeper.storage='redis://host/0'"),
        "hydra.sweeper.storage",
        needs="hydra_plugins.hydra_optuna_sweeper",
    ),
    "callback": Way(building("callbacks.x"), "hydra.callbacks.x._target_", live=True),
    "callback of a sweep": Way(("-m", "seed=0,1", *building("callbacks.x")), "hydra.callbacks.x._target_", live=True),
    "callback by reference": Way(
        (
            f"+hydra.job.env_set._target_={TOUCH}",
            f"+hydra.job.env_set.self={CANARY}",
            "+hydra.callbacks.x=${hydra.job.env_set}",
        ),
        "hydra.callbacks.x='${hydra.job.env_set}'",
        live=True,
    ),
    "class of a handler": Way(
        (ROOT, f"+hydra.job_logging.handlers.x={{class:zipfile.ZipFile,file:{CANARY},mode:w}}"),
        "hydra.job_logging.handlers.x.class='zipfile.ZipFile'",
        live=True,
    ),
    "factory of a filter": Way(
        ("--config-dir=own", "hydra/job_logging=mine"),
        "hydra.job_logging.filters.x.()",
        {
            "own/hydra/job_logging/mine.yaml": f"root: {{level: INFO}}\nversion: 1\nfilters: {{x: {{'()': {TOUCH}, "
            f"self: {CANARY}}}}}\n"
        },
        live=True,
    ),
    "factory looked up": Way(
        ("--config-dir=own", "hydra/hydra_logging=mine"),
        "hydra.hydra_logging.handlers.x.()='ext://evil.Handler'",
        {
            "own/hydra/hydra_logging/mine.yaml": "version: 1\nroot: {level: INFO}\nhandlers: {x: {'()': ext://evil.Handler}}\n"
        },
    ),
    "stream looked up": Way(
        (ROOT, "+hydra.job_logging.handlers.x={class:logging.StreamHandler,stream:'ext://evil.x'}"),
        "hydra.job_logging.handlers.x.stream='ext://evil.x'",
        MODULE,
        live=True,
    ),
    "stream by a name": Way(
        (
            ROOT,
            "hydra.job.id='ext://evil.x'",
            "+hydra.job_logging.handlers.x={class:logging.StreamHandler,stream:'${hydra.job.id}'}",
        ),
        "hydra.job_logging.handlers.x.stream='${hydra.job.id}'",
        MODULE,
        live=True,
    ),
    "a log that is a module": Way(
        (ROOT, "+hydra.job_logging.handlers.x={class:logging.FileHandler,filename:sitecustomize.py}"),
        "hydra.job_logging.handlers.x.filename='sitecustomize.py'",
    ),
    "queue of a handler": Way(
        (ROOT, "+hydra.job_logging.handlers.x={class:logging.StreamHandler,queue:evil.x}"),
        "hydra.job_logging.handlers.x.queue",
    ),
    "PYTHONPATH": Way(("+hydra.job.env_set.PYTHONPATH=evil",), "hydra.job.env_set.PYTHONPATH='evil'"),
    "LD_PRELOAD of a sweep": Way(("-m", "seed=0,1", "+hydra.job.env_set.LD_PRELOAD=x.so"), "env_set.LD_PRELOAD='x.so'"),
    "a compiler": Way(("+hydra.job.env_set.CXX=./evil",), "hydra.job.env_set.CXX='./evil'"),
    "a package searched": Way(("hydra.searchpath=['pkg://evil']", "+x=y"), "is not a key"),
    "a package searched, by a flag": Way(
        ("--config-dir=own", "hydra.searchpath=['pkg://evil']"), "hydra.searchpath", {"own/a": "", **MODULE}, live=True
    ),
    "a package searched, by a file": Way(
        ("--config-path=PLACE/own",),
        "hydra.searchpath",
        {"own/config.yaml": "hydra: {searchpath: ['pkg://evil']}\n", **MODULE},
        live=True,
    ),
    "a package of configurations": Way(("--config-path=pkg://evil",), "--config-path=pkg://evil", MODULE, live=True),
    "an experiment of one's own": Way(
        ("--config-dir=own", "experiment=mine"),
        "hydra.callbacks.x._target_",
        {"own/experiment/mine.yaml": GLOBAL + "{callbacks: {x: " + IN_YAML + "}}\n"},
        live=True,
    ),
    "a whole configuration of one's own": Way(
        ("--config-dir=own", "--config-name=mine"), "hydra.callbacks.x._target_", {"own/mine.yaml": WHOLE}, live=True
    ),
    "Hydra's keys among what is swept": Way(
        ("-m", "--config-dir=own", "experiment=mine"),
        "hydra.sweeper.params.hydra/job_logging='mine'",
        {"own/experiment/mine.yaml": GLOBAL + "{sweeper: {params: {hydra/job_logging: mine}}}\n"},
    ),
    "commands for a queue": Way(
        ("-m", "seed=0,1", "hydra/launcher=submitit_slurm", f"hydra.launcher.setup=['touch {CANARY}']"),
        "hydra.launcher.setup.0",
        needs="hydra_plugins.hydra_submitit_launcher",
    ),
    "a line for a queue": Way(
        ("-m", "seed=0,1", "hydra/launcher=submitit_slurm", f"hydra.launcher.partition='x\ntouch {CANARY}'"),
        "hydra.launcher.partition",
        needs="hydra_plugins.hydra_submitit_launcher",
    ),
    "a pickle": Way(("--experimental-rerun=run.pickle",), "--experimental-rerun=run.pickle", live=True),
    "a pickle, shortened": Way(("--experimental-re=run.pickle",), "--experimental-rerun=run.pickle", live=True),
    "a sweep taken up": Way(
        ("sweep.resume=s",),
        "hydra.callbacks.x._target_",
        {"s/sweep.json": json.dumps({"words": ["seed=0,1", *building("callbacks.x")], "jobs": 2, "starts": []})},
        live=True,
    ),
    "a flag of a sweep taken up": Way(
        ("sweep.resume=s",),
        "'--experimental-rerun=run.pickle'",
        {"s/sweep.json": json.dumps({"words": ["--experimental-rerun=run.pickle"], "jobs": 2, "starts": []})},
    ),
}


class Touching:
    """Makes the canary where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str, int]]:
        return os.mkdir, (CANARY, 0o700)


def set_up(way: Way, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The files of a way in the folder of the test, and no training; the words."""
    pytest.importorskip(way.needs)
    for name, text in way.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "run.pickle").write_bytes(pickle.dumps(Touching()))
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python -m` does
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    monkeypatch.setattr(Job, "__call__", lambda job, composed: None)
    return [word.replace("PLACE", str(tmp_path)) for word in way.words]


def written(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_is_refused(
    way: Way, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = set_up(way, monkeypatch, tmp_path)
    before = written(tmp_path)
    code, text = command(*words)
    assert (code, text.count("\n")) == (2, 1), text
    assert way.told in text
    assert len(text) < 400
    assert written(tmp_path) == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.live])
def test_would_run_unrefused(
    name: str, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    way = WAYS[name]
    words = set_up(way, monkeypatch, tmp_path)
    monkeypatch.setattr(trusted, "check_hydra", lambda settings: None)
    monkeypatch.setattr(entry, "check_flags", lambda words: None)
    monkeypatch.delattr(trusted.TrustedLoader, "_process_config_searchpath")
    with contextlib.suppress(Exception):  # of a part that is none; what it was to run, it has run
        print(command(*words))
    assert (tmp_path / CANARY).exists()


def test_a_job_of_a_sweep_is_refused(
    command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Hydra composes the second experiment when its job starts."""
    logging = "{job_logging: {root: {level: INFO}, handlers: {x: {class: " + TOUCH + ", self: " + CANARY + "}}}}\n"
    files = {"own/experiment/a.yaml": GLOBAL + "{}\n", "own/experiment/b.yaml": GLOBAL + logging}
    words = set_up(Way((), "", files), monkeypatch, tmp_path)
    code, text = command("-m", "--config-dir=own", "experiment=a,b", "hydra.sweep.dir=s", *words)
    assert code == 2
    assert f"gantrain: error: hydra.job_logging.handlers.x.class='{TOUCH}'" in text
    assert "Traceback" not in text
    assert not (tmp_path / CANARY).exists()


HONEST = {
    "one run": (),
    "a place": ("hydra.run.dir=x", "hydra.sweep.dir=y", "hydra.job.chdir=true", "hydra.sweep.subdir=${hydra.job.num}"),
    "variables": ("+hydra.job.env_set.OMP_NUM_THREADS=2", "+hydra.job.env_set.CUDA_VISIBLE_DEVICES=1"),
    "copied variables": ("hydra.job.env_copy=[PATH]",),
    "side by side": ("hydra/launcher=side_by_side", "hydra.launcher.runs=8"),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit on this machine": ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"),
    "Slurm": (
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=PARTITION",
        "hydra.launcher.gpus_per_node=1",
        "hydra.launcher.timeout_min=600",
    ),
    "Ray": (
        "hydra/launcher=ray",
        "+hydra.launcher.ray.init.num_cpus=2",
        "+hydra.launcher.ray.init.include_dashboard=false",
    ),
    "a search": ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=1"),
    "a search that is kept": ("hydra/sweeper=optuna", "hydra.sweeper.storage='sqlite:///study.db'"),
    **{
        f"a sampler: {name}": ("hydra/sweeper=optuna", f"hydra/sweeper/sampler={name}")
        for name in ("tpe", "random", "cmaes", "nsgaii", "motpe", "grid")
    },
    **{f"a log: {name}": (f"hydra/job_logging={name}",) for name in ("default", "stdout", "disabled", "none")},
    **{f"Hydra's log: {name}": (f"hydra/hydra_logging={name}",) for name in ("default", "hydra_debug", "disabled")},
    **{f"experiment {name}": (f"experiment={name}",) for name in ("seeds", "grid_divergences")},
}
PLUGINS = {
    "hydra/launcher=joblib": "hydra_joblib_launcher",
    "hydra/launcher=submitit_local": "hydra_submitit_launcher",
    "hydra/launcher=submitit_slurm": "hydra_submitit_launcher",
    "hydra/launcher=ray": "hydra_ray_launcher",
    "hydra/sweeper=optuna": "hydra_optuna_sweeper",
}


@pytest.mark.parametrize("words", HONEST.values(), ids=HONEST)
def test_what_is_installed_composes(words: tuple[str, ...]) -> None:
    for word in words:
        if word in PLUGINS:
            pytest.importorskip(f"hydra_plugins.{PLUGINS[word]}")
    compose_with_hydra(list(words))


def test_a_folder_of_ones_own_trains(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(
        GLOBAL + "{run: {dir: here}, job_logging: {root: {level: INFO, handlers: [f]}, handlers: {f: {class: "
        "logging.StreamHandler, stream: ext://sys.stderr}}}}\nschedule: {steps: 1}\n"
    )
    words = [word for word in TINY if not word.startswith("schedule.steps")]
    code, text = command("--config-dir=own", *words, "metrics=none", "experiment=mine")
    assert (code, (tmp_path / "here" / "run.json").is_file()) == (0, True), text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--cfg=job", "--run"), "--run and --cfg ask for different things"),
        (("--config-dir=.", "+mine=x"), "'mine' is not a key"),
        (("--resolve",), "--resolve goes with --cfg or --help"),
        (("--config-dir=nowhere",), "nowhere' not found"),
        (("--config-name=nothing",), "nothing"),
        (("-m", "--config-dir=.", "seed=0,1", "hydra.foo=3"), "hydra.foo"),
        (("seed=1", "-x"), "flags go before key=value words"),
        (("--cfg=all", "hydra/launcher=nothing"), "hydra/launcher/nothing"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_hydra_refuses_is_one_line(
    words: tuple[str, ...], told: str, command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, text = command(*words)
    assert (code, text.count("\n")) == (2, 1), text
    assert told in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
