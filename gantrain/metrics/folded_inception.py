"""The FID Inception as it is run here: torch-fidelity's layers in channels_last, batch norm folded in."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

from gantrain.atomic_io import load_safely

EXTRACTOR = "inception-v3-compat"
FEATURES, LOGITS = "2048", "logits_unbiased"
AGREE = 0.1  # of the features' norm: bfloat16 rounds away 0.02 of it, and a wrong kernel leaves nothing alike


class ConvolutionReLU(nn.Module):
    """A convolution that holds its batch norm, and ReLU.

    Inference's y = γ(Wx - μ)/√(σ² + ε) + β is a convolution with W γ/√(σ² + ε) and bias β - μ γ/√(σ² + ε); both are
    found in float64.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, block: BasicConv2d) -> None:
        """Folds torch-fidelity's convolution without bias and the batch norm behind it."""
        super().__init__()
        convolution, norm = block.conv, block.bn
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = convolution.weight.double() * scale.view(-1, 1, 1, 1)
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", (norm.bias.double() - norm.running_mean.double() * scale).float())
        self.stride, self.padding = convolution.stride, convolution.padding
        self.fused = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, H', W'); fused, cuDNN adds the bias and cuts at 0 while it writes."""
        if self.fused:
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, self.stride, self.padding, (1, 1), 1)
        return F.relu_(F.conv2d(x, self.weight, self.bias, self.stride, self.padding))


class FoldedInception(nn.Module):
    """uint8 images to the features and logits of torch-fidelity's `FeatureExtractorInceptionV3`."""

    def __init__(self, weights: Path, *, logits: bool, dtype: torch.dtype) -> None:
        """Reads the weights.

        Args:
            weights: torch-fidelity's state dict, as `find_inception_weights` leaves it.
            logits: whether the classifier's logits are wanted besides the features.
            dtype: of the convolutions and what lies between them, as autocast would have it; features are averaged
                in float32 all the same.
        """
        super().__init__()
        extractor = blank_extractor()
        nn.Module.load_state_dict(extractor, load_safely(weights))
        *layers, _, classifier = extractor.children()  # in the order of its forward; the last but one is the average
        self.layers = nn.Sequential(*layers)
        _fold(self.layers)
        self.layers.to(dtype).to(memory_format=torch.channels_last)
        self.size = extractor.INPUT_IMAGE_SIZE
        self.dtype = dtype
        self.classifier = nn.Buffer(classifier.weight.detach()) if logits else None
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (N, 3, H, W) to float32 features (N, 2048), and logits without the bias (N, 1008) if wanted."""
        x = enlarged(images, self.size).to(self.dtype)
        features = self.layers(x).float().mean(dim=(2, 3))
        if self.classifier is None:
            return {FEATURES: features}
        return {FEATURES: features, LOGITS: features @ self.classifier.T}

    def fuse(self) -> None:
        """Fuses bias and ReLU into cuDNN's convolutions, on CUDA, after it has seen that this works here.

        Bias and ReLU alone would read and write every activation twice more: for 50,000 images some seven terabytes.
        """
        images = (
            (torch.arange(2 * 3 * 32 * 32, device=next(self.buffers()).device) * 37 % 256)
            .to(torch.uint8)
            .view(2, 3, 32, 32)
        )
        self._set_fused(False)
        plain = self(images)[FEATURES]
        self._set_fused(True)
        if images.is_cuda:  # a kernel that reads what it has not written is to find that it is no number
            torch.cuda.empty_cache()
            torch.full((2**24,), torch.nan, device=images.device)
        try:
            apart = float((self(images)[FEATURES] - plain).norm() / plain.norm())
            reason = "" if apart <= AGREE else f"they are {apart:.2g} apart"
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
        if reason:
            self._set_fused(False)
            print(f"cuDNN's fused convolutions do not do here ({reason}): FID takes longer", file=sys.stderr)

    def _set_fused(self, fused: bool) -> None:
        for block in self.modules():
            if isinstance(block, ConvolutionReLU):
                block.fused = fused


def blank_extractor() -> FeatureExtractorInceptionV3:
    """torch-fidelity's network without its weights: its class reads a file of them and would run code in it."""

    class Blank(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
            assert not state_dict

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.pth"
        torch.save({}, empty)
        return Blank(EXTRACTOR, [FEATURES], feature_extractor_weights_path=str(empty))


def enlarged(images: Tensor, size: int) -> Tensor:
    """uint8 (N, 3, H, W) as (N, 3, size, size) in [-1, 1), channels_last, by TensorFlow 1's bilinear rule.

    torch-fidelity's `interpolate_bilinear_2d_like_tensorflow1x` to the last bit or so, columns before rows: they are
    interpolated in the small image. The corner of a pixel is its place, and (x - 128)/128 the Inception's own scaling.
    """
    x = (images.permute(0, 2, 3, 1).float() - 128) / 128
    for dim in (2, 1):
        before = x.shape[dim]
        place = torch.arange(size, dtype=torch.float32, device=x.device) * (before / size)
        low = place.long()
        share = (place - low).view(-1, *[1] * (3 - dim))
        start = x.index_select(dim, low)
        x = torch.addcmul(start, x.index_select(dim, (low + 1).clamp_max(before - 1)) - start, share)
    return x.permute(0, 3, 1, 2)


def _fold(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, BasicConv2d):
            setattr(module, name, ConvolutionReLU(child))
        else:
            _fold(child)
