"""Marks of every test in this folder."""

import pytest
import torch

NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device"),
    # libraries of other PyTorch builds have warnings of their own
    pytest.mark.filterwarnings("default"),
]

GPU = torch.device("cuda", 0)
