"""Networks that can read labels: class-conditional layers of the generator, class scores of the discriminator."""

import torch
from torch import Tensor, nn

from gantrain.networks.layers import FullConv2d
from gantrain.networks.normalization import BatchNorm2d, VirtualBatchNorm2d
from gantrain.networks.spec import Target


class ReadsLabels(nn.Module):
    """A layer whose forward takes (x, labels)."""


class ConditionalBatchNorm2d(ReadsLabels):
    """Batch norm with a gain and a bias for each class (Dumoulin et al. 2017; Miyato & Koyama 2018)."""

    def __init__(self, channels: int, classes: int) -> None:
        """Gains start at 1, biases at 0."""
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.bias = nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W), labels (N,) -> (N, C, H, W)."""
        gain, bias = self.gain(labels)[:, :, None, None], self.bias(labels)[:, :, None, None]
        normal: Tensor = self.norm(x)
        return torch.addcmul(bias, normal, gain)


class LabelEmbedding(ReadsLabels):
    """Appends a learned vector of the class to z (Odena et al. 2016)."""

    def __init__(self, classes: int, size: int) -> None:
        """Draws `size` entries for each class from N(0, 1)."""
        super().__init__()
        self.embedding = nn.Embedding(classes, size)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """(N, dim), labels (N,) -> (N, dim + size)."""
        return torch.cat((z, self.embedding(labels)), dim=1)


def label_embedding(latent_dim: int, target: Target) -> tuple[list[nn.Module], int]:
    """First layers of a generator: the embedding of the class if it has one.

    Returns:
        The layers, and the number of inputs of the layer after them.
    """
    if target.embedded_classes:
        return [LabelEmbedding(target.embedded_classes, latent_dim)], 2 * latent_dim
    return [], latent_dim


class Network(nn.Sequential):
    """Layers in order; those that are `ReadsLabels` also get the labels.

    If a layer is a virtual batch norm, the reference batch (and its labels) is put in front of every input and removed
    from the output; call `set_reference` first.
    """

    reference: Tensor
    reference_labels: Tensor

    def __init__(self, *layers: nn.Module, input_shape: tuple[int, ...] = ()) -> None:
        """`input_shape` is the shape of one example; it is only needed for virtual batch norm."""
        super().__init__(*layers)
        sizes = {layer.reference_size for layer in self.modules() if isinstance(layer, VirtualBatchNorm2d)}
        assert len(sizes) <= 1, "one reference batch for all layers"
        self.reference_size = sizes.pop() if sizes else 0
        if self.reference_size:
            self.register_buffer("reference", torch.zeros(self.reference_size, *input_shape))
            self.register_buffer("reference_labels", torch.zeros(self.reference_size, dtype=torch.long))

    def set_reference(self, examples: Tensor, labels: Tensor | None) -> None:
        """Sets the reference batch of virtual batch norm: inputs (reference_size, ...) and their labels."""
        self.reference.copy_(examples)
        if labels is not None:
            self.reference_labels.copy_(labels)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, ...), labels (N,) if any layer reads them -> output (N, ...) of the last layer."""
        if self.reference_size:
            x = torch.cat((self.reference, x))
            labels = None if labels is None else torch.cat((self.reference_labels, labels))
        for layer in self:
            x = layer(x, labels) if isinstance(layer, ReadsLabels) else layer(x)
        return x[self.reference_size :] if self.reference_size else x


class Discriminator(nn.Module):
    """Images (N, 3, H, W) -> logits (N,)."""

    def __init__(self, features: Network, channels: int, size: int) -> None:
        """The logit is a linear function of the features (N, channels, size, size)."""
        super().__init__()
        self.features = features
        self.logit = FullConv2d(channels, 1, size)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N,)."""
        logits: Tensor = self.logit(self.features(images))
        return logits.flatten()


class LabeledDiscriminator(Discriminator):
    """A discriminator with a score for each class, linear in the features φ.

    For `acgan` the scores are logits of p(class | image) (Odena et al. 2016). `projection` adds the score of the given
    class to the logit: v = ψ(φ(x)) + e_y·φ(x) (Miyato & Koyama 2018, eq. 3).
    """

    def __init__(self, features: Network, channels: int, size: int, *, classes: int, kind: str) -> None:
        """`kind` is acgan or projection."""
        super().__init__(features, channels, size)
        assert kind in ("acgan", "projection"), kind
        self.kind = kind
        self.class_scores = FullConv2d(channels, classes, size, bias=kind == "acgan")

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(N, 3, H, W), labels (N,) -> logits (N,), class scores (N, classes)."""
        features = self.features(images)
        logits: Tensor = self.logit(features).flatten()
        scores: Tensor = self.class_scores(features).flatten(1)
        if self.kind == "projection":
            logits = logits + scores.gather(1, labels[:, None])[:, 0]
        return logits, scores


def make_discriminator(features: Network, channels: int, size: int, target: Target) -> Discriminator:
    """The discriminator with these features (N, channels, size, size), and class scores if there are classes."""
    if target.classes:
        return LabeledDiscriminator(features, channels, size, classes=target.classes, kind=target.labels)
    return Discriminator(features, channels, size)
