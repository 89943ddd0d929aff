"""Networks that may read labels: class-conditional layers of the generator, and the discriminator's class head."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gantrain.networks.layers import WholeConv2d
from gantrain.networks.normalization import BatchNorm2d, VirtualBatchNorm2d


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


class JoinedEmbedding(ReadsLabels):
    """Appends a learned vector of the class to z; the layer after it sees the class as Odena et al. 2016's does."""

    def __init__(self, classes: int, size: int) -> None:
        """`size` entries a class, from N(0, 1)."""
        super().__init__()
        self.embedding = nn.Embedding(classes, size)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """(N, dim), labels (N,) -> (N, dim + size)."""
        return torch.cat((z, self.embedding(labels)), dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """What every generator is built from.

    Attributes:
        width: base number of feature maps.
        latent_dim: size of z.
        image_size: height and width.
        norm: one that `make_norm` knows, after every layer but the last.
        dropout: rate after every activation, in training.
        classes: 0 for a generator without labels.
        labels: how it reads them: batch_norm (a gain and a bias a class) or embedding (joined with z).
        reference_size: of norm=virtual.
    """

    width: int
    latent_dim: int
    image_size: int
    norm: str = "batch"
    dropout: float = 0.0
    classes: int = 0
    labels: str = "batch_norm"
    reference_size: int = 0

    @property
    def normed_classes(self) -> int:
        """Classes of the class-conditional batch norm; 0 where there is none."""
        return self.classes if self.labels == "batch_norm" else 0

    @property
    def inputs(self) -> int:
        """What the first layer takes: z, and the embedding beside it if there is one."""
        return self.latent_dim * (2 if self.classes and not self.normed_classes else 1)

    def joined(self) -> list[nn.Module]:
        """The layer that joins the embedding with z, where there is one."""
        return [JoinedEmbedding(self.classes, self.latent_dim)] if self.inputs > self.latent_dim else []


class Network(nn.Sequential):
    """Layers in order; those that read labels get them.

    With virtual batch norm inside, the reference batch (and its labels) goes in front of every input and is
    taken off the output; `set_reference` must have filled it.
    """

    reference: Tensor
    reference_labels: Tensor

    def __init__(self, *layers: nn.Module, input_shape: tuple[int, ...] = ()) -> None:
        """`input_shape` is that of one example, read where there is virtual batch norm."""
        super().__init__(*layers)
        sizes = {layer.reference_size for layer in self.modules() if isinstance(layer, VirtualBatchNorm2d)}
        assert len(sizes) <= 1, "one reference batch for all layers"
        self.reference_size = sizes.pop() if sizes else 0
        if self.reference_size:
            self.register_buffer("reference", torch.zeros(self.reference_size, *input_shape))
            self.register_buffer("reference_labels", torch.zeros(self.reference_size, dtype=torch.long))

    def set_reference(self, examples: Tensor, labels: Tensor | None) -> None:
        """Fixes the reference batch of virtual batch norm: (reference_size, ...) inputs, and their labels."""
        self.reference.copy_(examples)
        if labels is not None:
            self.reference_labels.copy_(labels)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, ...), labels (N,) if any layer reads them -> what the last layer gives for these N."""
        if self.reference_size:
            x = torch.cat((self.reference, x))
            labels = None if labels is None else torch.cat((self.reference_labels, labels))
        for layer in self:
            x = layer(x, labels) if isinstance(layer, ReadsLabels) else layer(x)
        return x[self.reference_size :] if self.reference_size else x


class Discriminator(nn.Module):
    """Images (N, 3, H, W) -> logits (N,)."""

    def __init__(self, features: Network, channels: int, size: int) -> None:
        """A convolution over all of the features' (N, channels, size, size) gives the logit."""
        super().__init__()
        self.features = features
        self.logit = WholeConv2d(channels, 1, size)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N,)."""
        logits: Tensor = self.logit(self.features(images))
        return logits.flatten()


class LabeledDiscriminator(Discriminator):
    """A discriminator with a score for each class, linear in the features φ.

    `acgan` reads them as logits of p(class | image) (Odena et al. 2016); `projection` adds the given
    class's score to the logit: v = ψ(φ(x)) + e_y·φ(x) (Miyato & Koyama 2018, eq. 3).
    """

    def __init__(self, features: Network, channels: int, size: int, *, classes: int, kind: str) -> None:
        """`kind` is acgan or projection."""
        super().__init__(features, channels, size)
        assert kind in ("acgan", "projection"), kind
        self.kind = kind
        self.class_scores = WholeConv2d(channels, classes, size, bias=kind == "acgan")

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(N, 3, H, W), labels (N,) -> logits (N,), class scores (N, classes)."""
        features = self.features(images)
        logits: Tensor = self.logit(features).flatten()
        scores: Tensor = self.class_scores(features).flatten(1)
        if self.kind == "projection":
            logits = logits + scores.gather(1, labels[:, None])[:, 0]
        return logits, scores
