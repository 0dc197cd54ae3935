from pathlib import Path

import pytest
import torch

from dsnet.train.checkpoint import WholeCheckpoints, save


def test_checkpoints_are_whole_and_hold_no_code(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1, "weight": torch.ones(2)}, path)
    read = WholeCheckpoints().load_checkpoint(path)
    assert read["epoch"] == 1
    assert torch.equal(read["weight"], torch.ones(2))

    class Unsaveable:
        def __reduce__(self) -> str:
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        save({"weight": Unsaveable()}, path)
    assert WholeCheckpoints().load_checkpoint(path)["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]
