from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lineup.errors import UsageError
from lineup_export.public.lora import fuse_lora


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(6, 4)
        self.conv = nn.Conv2d(3, 5, 3, padding=1)


def written(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path)
    return path


def test_kohya_weights_are_scaled_by_alpha_over_rank(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Layers()
    before = module.to_q.weight.clone()
    down, up = torch.randn(2, 6), torch.randn(4, 2)
    path = written(
        tmp_path,
        {
            "lora_unet_to_q.lora_down.weight": down,
            "lora_unet_to_q.lora_up.weight": up,
            "lora_unet_to_q.alpha": torch.tensor(1.0),
        },
    )

    assert fuse_lora(module, path) == 1
    torch.testing.assert_close(module.to_q.weight.data, (before + 0.5 * up @ down).detach())


def test_convolutions_compute_the_two_steps_in_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, image = Layers(), torch.randn(1, 3, 8, 8)
    down, up = nn.Conv2d(3, 2, 3, padding=1, bias=False), nn.Conv2d(2, 5, 1, bias=False)
    expected = module.conv(image) + up(down(image))
    path = written(
        tmp_path,
        {
            "unet.conv.lora_A.weight": down.weight.data,
            "unet.conv.lora_B.weight": up.weight.data,
        },
    )

    fuse_lora(module, path)

    torch.testing.assert_close(module.conv(image), expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("to_k.lora_A.weight", "to_k.lora_B.weight"), "'to_k', which the component does not have"),
        (("to_q.lora_A.weight", "to_q.other"), "found 'to_q.lora_A.weight' beside them"),
    ],
)
def test_weights_of_something_else_are_refused(
    names: tuple[str, str], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, dict(zip(names, (torch.ones(2, 6), torch.ones(4, 2)), strict=True)))

    with pytest.raises(UsageError, match=message):
        fuse_lora(Layers(), path)


def test_what_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lora.bin").write_bytes(b"\x80\x04pickle")

    with pytest.raises(UsageError, match="cannot be read as safetensors"):
        fuse_lora(Layers(), tmp_path / "lora.bin")
