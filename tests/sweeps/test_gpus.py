"""Which GPU each worker process takes; needs no GPU."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gantrain.sweeps.driver import locked
from gantrain.sweeps.gpus import GPUS, visible_gpus
from tests.conftest import plan, python_path

TAKE = (
    "import os, sys; from pathlib import Path; from gantrain.sweeps.gpus import take_a_gpu; "
    "take_a_gpu(Path(sys.argv[1])); take_a_gpu(Path(sys.argv[1])); "
    "print(os.environ.get('CUDA_VISIBLE_DEVICES', 'unset'), flush=True); sys.stdin.read()"
)


def worker(sweep: Path, gpus: str) -> tuple[subprocess.Popen[str], str]:
    """A worker process, and the GPU that it has taken."""
    environment = {**os.environ, "PYTHONPATH": python_path(), GPUS: gpus}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-c", TAKE, str(sweep)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def test_workers_share_gpus_evenly_and_reuse_those_of_killed_workers(tmp_path: Path) -> None:
    workers = [worker(tmp_path, "4,GPU-7f") for _ in range(3)]
    counts = Counter(gpu for _, gpu in workers)
    assert sorted(counts.items(), key=lambda item: item[1])[0][1] == 1
    assert set(counts) == {"4", "GPU-7f"}
    single, freed = next((process, gpu) for process, gpu in workers if counts[gpu] == 1)
    end(single)
    late, gpu = worker(tmp_path, "4,GPU-7f")
    assert gpu == freed
    without, unset = worker(tmp_path, "")
    assert unset == "unset"
    end(late, without, *(process for process, _ in workers if process is not single))


def test_visible_gpus_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_joblib_has_one_worker_per_gpu(
    words: list[str], workers: str, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="gantrain[joblib] is not installed")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    monkeypatch.setenv(GPUS, "of an earlier sweep")
    asked = ["hydra/launcher=joblib", "seed=0,1", f"hydra.sweep.dir={tmp_path / 's'}", *words]
    sweep = plan(*asked)
    assert [word for word in sweep.overrides if word.startswith("hydra.launcher.n_jobs")] == [
        f"hydra.launcher.n_jobs={workers}"
    ]
    with locked(sweep, asked):
        assert os.environ[GPUS] == shared
