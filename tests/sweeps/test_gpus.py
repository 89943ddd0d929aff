"""Which GPU each worker process takes; no GPU is needed to tell."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gantrain.sweeps.driver import prepare, under_way
from gantrain.sweeps.gpus import GPUS, visible_gpus
from tests.conftest import python_path

TAKE = (
    "import os, sys; from pathlib import Path; from gantrain.sweeps.gpus import take_a_gpu; "
    "take_a_gpu(Path(sys.argv[1])); take_a_gpu(Path(sys.argv[1])); "
    "print(os.environ.get('CUDA_VISIBLE_DEVICES', 'unset'), flush=True); sys.stdin.read()"
)


def worker(sweep: Path, gpus: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": python_path(), GPUS: gpus}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return subprocess.Popen(
        [sys.executable, "-c", TAKE, str(sweep)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_workers_share_the_gpus_evenly_and_take_over_those_of_the_dead(tmp_path: Path) -> None:
    workers = [worker(tmp_path, "4,GPU-7f") for _ in range(3)]
    taken = [answer(process) for process in workers]
    assert sorted(Counter(taken).values()) == [1, 2]
    assert set(taken) == {"4", "GPU-7f"}
    alone = next(process for process, gpu in zip(workers, taken, strict=True) if taken.count(gpu) == 1)
    freed = taken[workers.index(alone)]
    end(alone)
    late = worker(tmp_path, "4,GPU-7f")
    assert answer(late) == freed, "the GPU of a worker that was killed is free again"
    for process in (*workers, late):
        if process is not alone:
            end(process)


def test_without_gpus_nothing_is_set(tmp_path: Path) -> None:
    process = worker(tmp_path, "")
    assert answer(process) == "unset"
    end(process)


def test_what_is_visible_is_what_the_user_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert visible_gpus() == ["2", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert visible_gpus() == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("words", "workers", "shared"),
    [
        ([], "3", "5,6,7"),
        (["device=cuda"], "3", "5,6,7"),
        (["hydra.launcher.n_jobs=2"], "2", "5,6,7"),
        (["device=cuda:1"], "1", ""),
        (["device=cpu"], str(os.cpu_count()), ""),
    ],
)
def test_joblib_has_a_worker_for_each_gpu(
    words: list[str], workers: str, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="gantrain[joblib] is not installed")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    monkeypatch.setenv(GPUS, "of an earlier sweep")
    asked = ["hydra/launcher=joblib", "seed=0,1", f"hydra.sweep.dir={tmp_path / 's'}", *words]
    sweep = prepare(asked)
    assert [word for word in sweep.words if word.startswith("hydra.launcher.n_jobs")] == [
        f"hydra.launcher.n_jobs={workers}"
    ]
    with under_way(sweep, asked):
        assert os.environ[GPUS] == shared
