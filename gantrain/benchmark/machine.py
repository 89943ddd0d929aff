"""What the figures were measured on."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from gantrain.run_io.run_folder import git_commit

ASKED = {
    "clock of the SMs": "clocks.sm",
    "clock of the memory": "clocks.mem",
    "highest clock of the SMs": "clocks.max.sm",
    "power limit": "power.limit",
    "driver": "driver_version",
}
"""What nvidia-smi is asked for; nothing is set."""


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Name, clocks and versions."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu ({_processor()})",
        **(_clocks(device) if cuda else {}),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "tf32 in convolutions": torch.backends.cudnn.allow_tf32 if cuda else None,
        "cuDNN tries its algorithms": torch.backends.cudnn.benchmark if cuda else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "commit": git_commit(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _clocks(device: torch.device) -> dict[str, str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(ASKED.values())}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        values = done.stdout.strip().splitlines()[device.index or 0].split(", ")
        return dict(zip(ASKED, values, strict=True))
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return {}
