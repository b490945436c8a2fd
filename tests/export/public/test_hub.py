from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest

from lineup.bundles.manifest import Origin, Precision
from lineup.errors import UsageError
from lineup_export.public.folder import check_licence, source_from_hub
from lineup_models.recipes.read import open_recipe

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = (
    "model_index.json",
    "sd_turbo.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/pytorch_model.bin",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "tokenizer/merges.txt",
)
HALVES = (
    "text_encoder/model.fp16.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
)
PARTS = ("text_encoder", "unet")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A repository on the hub; what is downloaded of it appears in its snapshot."""
    files = [*FILES]

    def download(
        hub_id: str, *, revision: str, allow_patterns: Sequence[str], ignore_patterns: Sequence[str]
    ) -> str:
        folder = tmp_path / "snapshots" / COMMIT
        for name in files:
            is_wanted = any(fnmatch(name, pattern) for pattern in allow_patterns)
            if is_wanted and not any(fnmatch(name, pattern) for pattern in ignore_patterns):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return files


def downloaded(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_needed_is_downloaded_and_never_a_pickle(repository: list[str]) -> None:
    source = source_from_hub("a/b", "main", PARTS, Precision.FP32)

    assert downloaded(source.folder) == {
        "model_index.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "tokenizer/merges.txt",
    }
    assert source.variant is None


def test_the_commit_is_recorded_whatever_the_revision_was_called(repository: list[str]) -> None:
    origin = source_from_hub("a/b", "main", PARTS, Precision.FP32).origin

    assert (origin.origin, origin.id, origin.revision) == (Origin.HUB, "a/b", COMMIT)


def test_half_precision_reads_half_files_where_every_part_has_them(repository: list[str]) -> None:
    repository.extend(HALVES)

    source = source_from_hub("a/b", "main", PARTS, Precision.FP16)

    assert source.variant == "fp16"
    assert set(HALVES) <= downloaded(source.folder)
    assert "unet/diffusion_pytorch_model.safetensors" not in downloaded(source.folder)


def test_half_precision_reads_whole_files_where_a_part_has_no_others(repository: list[str]) -> None:
    repository.append(HALVES[0])

    source = source_from_hub("a/b", "main", PARTS, Precision.FP16)

    assert source.variant is None
    assert "unet/diffusion_pytorch_model.safetensors" in downloaded(source.folder)


def test_a_licence_with_conditions_has_to_be_accepted() -> None:
    with pytest.raises(UsageError, match="which has conditions") as caught:
        check_licence(open_recipe("sd-turbo"), accepted=False)
    assert "--accept-licence" in str(caught.value)
    check_licence(open_recipe("sd-turbo"), accepted=True)
    check_licence(open_recipe("blip-base"), accepted=False)
