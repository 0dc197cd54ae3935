"""What is kept of each epoch: its history, the best weights, the checkpoint (interpretation 10)."""

import time
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from torchvision.models.detection import FasterRCNN

from dsnet import schemas
from dsnet.config.detector import Train
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.inference import predict
from dsnet.evaluate.average_precision import ap50
from dsnet.evaluate.scene import scene
from dsnet.train.checkpoints import RunFolder, save
from dsnet.train.trainee import Trainee

_JUDGED = {"validation_map": "map", "validation_box_ap50": "box_ap50"}


class Keeper(Callback):
    """Judges each epoch on the validation part and writes down what a resumed training needs.

    The best epoch is the one of highest three-class AP50; of equals the later, which has seen more.
    Of several processes the first alone judges and writes; the others are told, and so all end
    after the same epoch.

    Parameters
    ----------
    folder : RunFolder
    part : SliceDataset
        The validation part: patients that the training part does not hold, and never the test part.
    """

    def __init__(self, folder: RunFolder, part: SliceDataset) -> None:
        self.folder = folder
        self.part = part
        self.history: list[dict[str, Any]] = []
        self._started = time.monotonic()

    def chosen(self, config: Train) -> int:
        """Return the epoch that counts so far, from 1."""
        if config.keep == "last":
            return len(self.history)
        judged = [row for row in self.history if row["validation_map"] is not None]
        best = max(judged, key=lambda row: (row["validation_map"], row["epoch"]), default=None)
        return int(best["epoch"]) if best else 0

    def stalled(self, config: Train) -> bool:
        """Return whether the epoch just judged is `patience_epochs` after the last better one.

        To equal the best is not to be better. An epoch that was not judged decides nothing.
        """
        if not config.patience_epochs or self.history[-1]["validation_map"] is None:
            return False
        judged = [row for row in self.history if row["validation_map"] is not None]
        better = max(judged, key=lambda row: (row["validation_map"], -row["epoch"]))
        return int(self.history[-1]["epoch"] - better["epoch"]) >= config.patience_epochs

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Judge, note, and save; in an order in which a kill at any place loses this epoch only."""
        epoch, config, first = trainer.current_epoch + 1, module.config, trainer.is_global_zero
        losses = _mean_over_processes(trainer, module.take_losses())
        judged = self._judge(module, epoch) if first else dict.fromkeys(_JUDGED)
        row = {
            "epoch": epoch,
            **losses,
            **judged,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.monotonic() - self._started, 3),
        }
        self.history.append(trainer.strategy.broadcast(row))
        trainer.should_stop = self.stalled(config)
        if epoch == config.epochs or trainer.should_stop:
            return
        if first and self.chosen(config) == epoch:
            save(module.network.state_dict(), self.folder.weights(epoch))
        trainer.save_checkpoint(self.folder.last)
        if first:
            self.folder.prune(keep=self.chosen(config))

    def table(self) -> pd.DataFrame:
        """Return the history as `schemas.HISTORY`."""
        columns = list(schemas.HISTORY.columns)
        return pd.DataFrame(self.history, columns=columns).astype(dict.fromkeys(columns[1:], float))

    def state_dict(self) -> dict[str, Any]:
        """Return what the checkpoint holds of this object."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the history of the epochs before."""
        self.history = state_dict["history"]

    def _judge(self, module: Trainee, epoch: int) -> dict[str, float | None]:
        config = module.config
        if epoch % config.validate_every and epoch != config.epochs:
            return dict.fromkeys(_JUDGED)
        return judge(module.network, self.part)


def _mean_over_processes(trainer: lightning.Trainer, losses: dict[str, float]) -> dict[str, float]:
    """Return the losses of whole batches, of which each process saw its share."""
    own = torch.tensor(list(losses.values()), dtype=torch.float64).to(trainer.strategy.root_device)
    return dict(zip(losses, trainer.strategy.reduce(own, reduce_op="mean").tolist(), strict=True))


def judge(network: FasterRCNN, part: SliceDataset) -> dict[str, float | None]:
    """Return the three-class AP50 of `part` and the AP50 of the box alone."""
    seen = scene(predict(network, part), part.boxes, part.split)
    everyone = np.ones((1, len(seen.patient_keys)))
    found = ap50(seen, everyone)
    return {column: float(found[name][0]) for column, name in _JUDGED.items()}
