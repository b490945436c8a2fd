import json

import pytest
from click.testing import CliRunner

from lineup.cli.lineups import lineups
from lineup.errors import BundleNotFoundError, LineupFileError, LineupNotFoundError, UsageError
from lineup.lineups.store import open_lineup
from lineup.paths import shipped_dir

SHIPPED_FINGERPRINT = "whitened-spectrum"


def run(*arguments):
    return CliRunner().invoke(lineups, [str(one) for one in arguments])


@pytest.fixture
def bundles(monkeypatch, tmp_path):
    """Bundle folders of every kind, as far as their manifests go."""
    manifest = json.loads(
        (shipped_dir() / "bundles" / SHIPPED_FINGERPRINT / "manifest.json").read_text()
    )
    tokenizer = {"path": "tokenizer.json", "sha256": "0" * 64, "size_bytes": 1}
    parts = {
        "captioner": {
            "tokenizer": "tokenizer.json",
            "files": [tokenizer],
            "captioner": {
                "bos_token_id": 0,
                "eos_token_id": 1,
                "pad_token_id": 2,
                "max_tokens": 8,
                "layers": 1,
                "heads": 1,
                "head_dimension": 8,
            },
        },
        "encoder": {"encoder": {"layers": [1, 2], "default_layer": 1, "dimension": 8}},
        "generator": {
            "files": [tokenizer],
            "scheduler": {"type": "one-step"},
            "generation": {
                "native_width_px": 256,
                "native_height_px": 256,
                "steps": 1,
                "guidance": 0.0,
                "latent_channels": 4,
                "latent_factor": 8,
                "latent_scaling": 1.0,
                "latent_shift": 0.0,
                "vae_family": "vae-of-ash",
                "text_encoders": [
                    {
                        "role": "fingerprint",
                        "tokenizer": "tokenizer.json",
                        "length": 8,
                        "pad_token_id": 0,
                    }
                ],
            },
        },
    }
    del manifest["fingerprint"], manifest["sha256"]
    for kind, fields in parts.items():
        folder = tmp_path / f"my-{kind}"
        folder.mkdir()
        content = {**manifest, "kind": kind, "name": f"my-{kind}", **fields}
        (folder / "manifest.json").write_text(json.dumps(content))
    return tmp_path


def make(bundles, *more):
    return run(
        *("create", "mine", "--captioner", bundles / "my-captioner"),
        *("--encoder", bundles / "my-encoder", "--candidate", f"ash={bundles / 'my-generator'}"),
        *("--gallery-candidate", "dalle3", "--gamma", 2, *more),
    )


def test_the_built_in_lineup_is_always_there():
    records = json.loads(run("list", "--json").stdout)

    assert "gallery" in [one["name"] for one in records]
    assert "the gallery's sources" in run("list").stdout


def test_a_lineup_is_made_and_shown(bundles):
    assert make(bundles).exit_code == 0

    record = json.loads(run("show", "mine", "--json").stdout)

    ash, dalle = record["candidates"]
    assert ash["name"] == "ash"
    assert ash["bundle"] == str(bundles / "my-generator")
    assert ash["vae_family"] == "vae-of-ash"
    assert ash["size_bytes"] > 0
    assert ash["gallery_images"] == 0
    assert (dalle["name"], dalle["bundle"]) == ("dalle3", None)
    assert dalle["gallery_images"] > 0
    assert "sd-beta" in [one["name"] for one in record["gallery_sources"]]
    assert record["resynthesis"]["gamma"] == 2
    assert record["fingerprint"]["bundle"] == SHIPPED_FINGERPRINT
    text = run("show", "mine").stdout
    assert "vae-of-ash" in text
    assert "gamma 2, seed 0, distance cosine, aggregate max" in text


def test_a_shipped_bundle_can_be_named(bundles):
    assert make(bundles, "--fingerprint", SHIPPED_FINGERPRINT).exit_code == 0
    assert open_lineup("mine").spec.fingerprint == SHIPPED_FINGERPRINT


def test_making_it_twice_needs_force(bundles):
    make(bundles)

    again = make(bundles)

    assert isinstance(again.exception, UsageError)
    assert "--force" in again.exception.hint
    assert make(bundles, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["create", "x", "--encoder", "nobody"], BundleNotFoundError, "nobody"),
        (["create", "x", "--encoder", SHIPPED_FINGERPRINT], UsageError, "expected encoder"),
        (["create", "bad name"], LineupFileError, "name"),
        (["create", "x", "--candidate", f"a={SHIPPED_FINGERPRINT}"], LineupFileError, "encoder"),
        (["show", "nobody"], LineupNotFoundError, "nobody"),
    ],
)
def test_what_cannot_be_is_said(arguments, error, message):
    result = run(*arguments)

    assert type(result.exception) is error
    assert message in result.exception.message


@pytest.mark.parametrize("text", ["ash", "ash="])
def test_a_candidate_needs_its_bundle(text):
    result = run("create", "x", "--candidate", text)

    assert result.exit_code == 2
    assert "NAME=BUNDLE" in result.stderr


def test_a_bundle_that_is_gone_is_named_and_the_rest_is_shown(bundles):
    make(bundles)
    (bundles / "my-generator" / "manifest.json").unlink()

    result = run("show", "mine")

    assert result.exit_code == 0
    assert "dalle3" in result.stdout
    assert "my-generator" in result.stderr


def test_a_broken_lineup_is_listed(lineup_home):
    (lineup_home / "lineups" / "broken").mkdir(parents=True)
    (lineup_home / "lineups" / "broken" / "lineup.toml").write_text("name = 3")

    result = run("list")

    assert "unreadable" in result.stdout
    assert "lineup.toml" in result.stderr


def test_nothing_is_written_when_a_bundle_is_missing(lineup_home):
    run("create", "x", "--encoder", "nobody")

    assert not (lineup_home / "lineups").exists()
