"""One detector in training, as Lightning wants it."""

from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FasterRCNN

from dsnet.config.detector import Train
from dsnet.detect.attention import gammas
from dsnet.detect.dataset import Example, SliceDataset
from dsnet.errors import UserError
from dsnet.train.augment import augment
from dsnet.train.data import (
    Stream,
    device_share,
    epoch_batches,
    epoch_images,
    image_classes,
    torch_seed,
)
from dsnet.train.schedule import learning_rate


class Trainee(lightning.LightningModule):
    """Everything random or scheduled follows from (seed, epoch, batch), never from what ran before.

    Several devices share each batch, and weigh their losses so that the mean gradient is that of
    the whole batch; but dice, and batch norms that train, see the device's own share alone.

    Parameters
    ----------
    network : FasterRCNN
    part : SliceDataset
        The training part, at least 2 images.
    config : Train
    seed : int
    fused : bool
        Whether the optimiser updates all weights in one pass; not under a gradient scaler.
    """

    def __init__(
        self, network: FasterRCNN, part: SliceDataset, config: Train, *, seed: int, fused: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.part = part
        self.config = config
        self.seed = seed
        self.fused = fused
        self._classes = image_classes(part)
        self._weights: list[float] = []  # of this device's share of each batch
        self._losses: list[dict[str, float]] = []

    def train_dataloader(self) -> DataLoader[Example]:
        """Return this device's share of the current epoch's batches; asked for anew in each."""
        world, rank = self.trainer.world_size, self.trainer.global_rank
        whole = self.epoch_batches(self.current_epoch, world)
        shares = [device_share(batch, rank, world) for batch in whole]
        self._weights = [
            len(part) * world / len(batch) for part, batch in zip(shares, whole, strict=True)
        ]
        shown = _Shown(self.part, self.config, self.seed, self.current_epoch)
        return DataLoader(shown, batch_sampler=shares, collate_fn=list)

    def epoch_images(self, epoch: int) -> list[int]:
        """Return which images an epoch uses."""
        return epoch_images(self._classes, self.config, seed=self.seed, epoch=epoch)

    def epoch_batches(self, epoch: int, world: int) -> list[list[int]]:
        """Return the images of each batch of an epoch, of all devices together."""
        return epoch_batches(
            self.epoch_images(epoch),
            self.config.batch_size,
            seed=self.seed,
            epoch=epoch,
            devices=world,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD; no weight decay on gamma (docs/interpretations.md#5)."""
        scales = list(gammas(self.network).values())
        rest = [
            weight
            for weight in self.network.parameters()
            if weight.requires_grad and not any(weight is scale for scale in scales)
        ]
        groups: list[dict[str, Any]] = [{"params": rest}]
        if scales:
            groups.append({"params": scales, "weight_decay": 0.0})
        return torch.optim.SGD(
            groups,
            lr=self.config.learning_rate,
            momentum=self.config.momentum,
            weight_decay=self.config.weight_decay,
            fused=self.fused,
        )

    def on_train_batch_start(self, batch: list[Example], batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Set the learning rate, and the seed from which proposals are sampled."""
        draw = batch_idx * self.trainer.world_size + self.trainer.global_rank
        torch.manual_seed(torch_seed(Stream.PROPOSALS, self.seed, self.current_epoch, draw))
        per_epoch = int(self.trainer.num_training_batches)
        step = self.current_epoch * per_epoch + batch_idx
        rate = learning_rate(step, self.config.epochs * per_epoch, self.config)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def training_step(self, batch: list[Example], batch_idx: int) -> Tensor:
        """Return the sum of the four losses of Faster R-CNN, weighed by the device's share.

        Raises
        ------
        UserError
            If it is not finite; the message names the images.
        """
        images = [example.image.to(self.device) for example in batch]
        targets = [_to(example.target(), self.device) for example in batch]
        losses: dict[str, Tensor] = self.network(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            raise UserError(
                f"training epoch {self.current_epoch}, images "
                + ", ".join(example.image_key for example in batch),
                expected="a finite loss",
                came=", ".join(f"{name} {value.item():.3g}" for name, value in losses.items()),
                remedy="look at these images, lower train.learning_rate or set train.gradient_clip",
            )
        weight = self._weights[batch_idx]
        self._losses.append({name: value.item() * weight for name, value in losses.items()})
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss * weight

    def transfer_batch_to_device(
        self, batch: list[Example], *_args: Any, **_kwargs: Any
    ) -> list[Example]:
        """Return the batch as it is: `training_step` moves what it needs."""
        return batch

    def configure_gradient_clipping(self, *_args: Any, **_kwargs: Any) -> None:
        """Scale all gradients down to the norm of the config."""
        if self.config.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)

    def take_losses(self) -> dict[str, float]:
        """Return the mean of each loss over the batches since the last call, and of their sum."""
        seen, self._losses = self._losses, []
        means = {name: sum(one[name] for one in seen) / len(seen) for name in seen[0]}
        return {"loss": sum(means.values()), **means}


class _Shown(Dataset[Example]):
    """The training images as one epoch shows them."""

    def __init__(self, part: SliceDataset, config: Train, seed: int, epoch: int) -> None:
        self.part = part
        self.config = config
        self.seed = seed
        self.epoch = epoch

    def __getitem__(self, index: int) -> Example:
        """Return image `index`, augmented."""
        change = partial(augment, config=self.config, seed=self.seed, epoch=self.epoch, index=index)
        return self.part.augmented(index, change)


def _to(target: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: values.to(device) for name, values in target.items()}
