"""Repositories of the Hugging Face hub, through the client's own cache, token and offline mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lineup.bundles.manifest import Origin, Precision, Source
from lineup.errors import UsageError
from lineup_export.public.folder import WHOLE, FolderSource
from lineup_models.recipes.recipe import Recipe

_TEXTS = ("*.json", "*.txt", "*/*.json", "*/*.txt")
_HALF, _WHOLE = "fp16.safetensors", "safetensors"


def snapshot(hub_id: str, revision: str, patterns: Iterable[str]) -> Path:
    """Download files of a repository, or find them in the cache.

    HF_TOKEN, HF_HOME and HF_HUB_OFFLINE are honoured; an interrupted download is resumed.

    Args:
        hub_id: "owner/name".
        revision: Commit, branch or tag.
        patterns: Files to fetch; never pickles.

    Raises:
        UsageError: There is no such repository or revision, or no way to it.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        folder = snapshot_download(
            hub_id,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=["*non_ema*", "*openvino*", "*flax*"],
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"{hub_id} at {revision} cannot be had from the hub: {reason}",
            hint="A gated repository needs HF_TOKEN and its conditions accepted on its page. "
            "Without a hub: --weights random, or a local folder instead of the name.",
        ) from error
    return Path(folder)


def source_from_hub(
    hub_id: str, revision: str, parts: Sequence[str], precision: Precision
) -> FolderSource:
    """Return a repository's model.

    Args:
        hub_id: "owner/name".
        revision: Commit, branch or tag.
        parts: Components that the export needs; their folders alone are fetched.
        precision: Half-precision exports read half-precision files where every part has them.

    Raises:
        UsageError: The repository cannot be had.
    """
    half = [_weights(part, _HALF) for part in parts]
    if precision is Precision.FP16:
        folder = snapshot(hub_id, revision, [*_TEXTS, *half])
        if all(any(folder.glob(pattern)) for pattern in half):
            return FolderSource(folder, Source(Origin.HUB, hub_id, folder.name), "fp16")
    weights = [_weights(part, f"model.{_WHOLE}") for part in parts]
    shards = [_weights(part, f"*-of-*.{_WHOLE}") for part in parts]
    folder = snapshot(hub_id, revision, [*_TEXTS, *weights, *shards])
    return FolderSource(folder, Source(Origin.HUB, hub_id, folder.name))


def _weights(part: str, ending: str) -> str:
    """Return the pattern of a part's weights: model.… of transformers, …_model.… of diffusers."""
    return f"*{ending}" if part == WHOLE else f"{part}/*{ending}"


def check_licence(recipe: Recipe, *, accepted: bool) -> None:
    """Check that the user has accepted a licence with conditions.

    Raises:
        UsageError: They have not.
    """
    if recipe.accept_licence and not accepted:
        raise UsageError(
            f"The weights of {recipe.title} are under {recipe.licence}, which has conditions.",
            hint=f"Read them at https://huggingface.co/{recipe.hub_id} and pass --accept-licence.",
        )
