"""What every test of this folder is marked with."""

import pytest
import torch

NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device"),
    # libraries of a GPU machine's own PyTorch warn of things that gantrain does not decide
    pytest.mark.filterwarnings("default"),
]

GPU = torch.device("cuda", 0)
