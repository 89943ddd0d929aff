"""The FID Inception with torch-fidelity's layers, in channels_last and with batch norm folded into convolutions."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gantrain.system.atomic_io import load_safely

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

log = logging.getLogger(__name__)

EXTRACTOR = "inception-v3-compat"
FEATURES, LOGITS = "2048", "logits_unbiased"
TOLERANCE = 0.1  # relative error of the features: bfloat16 rounding gives 0.02, a wrong kernel about 1


class ConvolutionReLU(nn.Module):
    """Convolution, batch norm and ReLU, with the batch norm folded into weight and bias.

    y = γ(Wx - μ)/√(σ² + ε) + β is a convolution with weight W γ/√(σ² + ε) and bias β - μ γ/√(σ² + ε), both computed in
    float64.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, block: "BasicConv2d") -> None:
        """Folds a torch-fidelity block: a convolution without bias, then batch norm."""
        super().__init__()
        convolution, norm = block.conv, block.bn
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = convolution.weight.double() * scale.view(-1, 1, 1, 1)
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", (norm.bias.double() - norm.running_mean.double() * scale).float())
        self.stride, self.padding = convolution.stride, convolution.padding
        self.fused = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, H', W'); if fused, cuDNN applies bias and ReLU in the convolution kernel."""
        if self.fused:
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, self.stride, self.padding, (1, 1), 1)
        return F.relu_(F.conv2d(x, self.weight, self.bias, self.stride, self.padding))


class FoldedInception(nn.Module):
    """Features and logits of torch-fidelity's `FeatureExtractorInceptionV3` for uint8 images."""

    def __init__(self, weights: Path, *, logits: bool, dtype: torch.dtype) -> None:
        """Loads the weights.

        Args:
            weights: torch-fidelity's state dict, see `find_inception_weights`.
            logits: whether to compute the classifier's logits too.
            dtype: of weights and activations; features are always averaged in float32.
        """
        super().__init__()
        extractor = blank_extractor()
        nn.Module.load_state_dict(extractor, load_safely(weights))
        *layers, _, classifier = extractor.children()  # in forward order; the omitted layer is the average pooling
        self.layers = nn.Sequential(*layers)
        _fold(self.layers)
        self.layers.to(dtype).to(memory_format=torch.channels_last)
        self.size = extractor.INPUT_IMAGE_SIZE
        self.dtype = dtype
        self.classifier = nn.Buffer(classifier.weight.detach()) if logits else None
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (N, 3, H, W) -> float32 features (N, 2048), and logits without bias (N, 1008) if requested."""
        x = resize(images, self.size).to(self.dtype)
        features = self.layers(x).float().mean(dim=(2, 3))
        if self.classifier is None:
            return {FEATURES: features}
        return {FEATURES: features, LOGITS: features @ self.classifier.T}

    def fuse(self) -> None:
        """Fuses bias and ReLU into cuDNN's convolutions on CUDA, if a test on two images gives the same features.

        Separate bias and ReLU kernels would read and write seven more terabytes for 50,000 images.
        """
        images = (
            (torch.arange(2 * 3 * 32 * 32, device=next(self.buffers()).device) * 37 % 256)
            .to(torch.uint8)
            .view(2, 3, 32, 32)
        )
        self._set_fused(False)
        plain = self(images)[FEATURES]
        self._set_fused(True)
        if images.is_cuda:  # so that a kernel that reads uninitialized memory finds NaN
            torch.cuda.empty_cache()
            torch.full((2**24,), torch.nan, device=images.device)
        try:
            error = float((self(images)[FEATURES] - plain).norm() / plain.norm())
            reason = "" if error <= TOLERANCE else f"relative error {error:.2g}"
        except RuntimeError as failure:
            reason = str(failure).splitlines()[0]
        if reason:
            self._set_fused(False)
            log.warning("cuDNN's fused convolutions do not work (%s); FID takes longer", reason)

    def _set_fused(self, fused: bool) -> None:
        for block in self.modules():
            if isinstance(block, ConvolutionReLU):
                block.fused = fused


def blank_extractor() -> "FeatureExtractorInceptionV3":
    """torch-fidelity's network without its weights, which its constructor would load by an unsafe torch.load."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
            assert not state_dict

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.pth"
        torch.save({}, empty)
        return Blank(EXTRACTOR, [FEATURES], feature_extractor_weights_path=str(empty))


def resize(images: Tensor, size: int) -> Tensor:
    """uint8 (N, 3, H, W) -> (N, 3, size, size) in [-1, 1), channels_last, by TensorFlow 1's bilinear interpolation.

    Equal to torch-fidelity's `interpolate_bilinear_2d_like_tensorflow1x` up to rounding. A pixel's coordinates are
    those of its corner; (x - 128)/128 is the Inception's scaling.
    """
    x = (images.permute(0, 2, 3, 1).float() - 128) / 128
    for dim in (2, 1):
        before = x.shape[dim]
        position = torch.arange(size, dtype=torch.float32, device=x.device) * (before / size)
        low = position.long()
        share = (position - low).view(-1, *[1] * (3 - dim))
        start = x.index_select(dim, low)
        x = torch.addcmul(start, x.index_select(dim, (low + 1).clamp_max(before - 1)) - start, share)
    return x.permute(0, 3, 1, 2)


def _fold(module: nn.Module) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d

    for name, child in module.named_children():
        if isinstance(child, BasicConv2d):
            setattr(module, name, ConvolutionReLU(child))
        else:
            _fold(child)
