import pytest
from toy_engine import open_instead

from lineup.errors import BundleNotFoundError
from lineup.lineups import models as models_module
from lineup.lineups.spec import CandidateSpec, LineupSpec
from lineup.lineups.store import Lineup
from lineup.options import ResynthesisOptions
from lineup.query import Query
from lineup.runtime import Runtime

SPEC = LineupSpec(
    "toy",
    captioner="captioner-bundle",
    encoder="encoder-bundle",
    candidates=(
        CandidateSpec("reds", "bundle-of-reds"),
        CandidateSpec("bought"),
        CandidateSpec("blues", "./bundle-of-blues"),
    ),
)


@pytest.fixture
def opened(monkeypatch, toy_captioner, toy_encoder, make_toy_generator):
    """Every model that was opened, by the bundle that was asked for."""
    models = {}

    def opener(make):
        def open_model(bundle, device, threads):
            assert (device, threads) == ("cpu", 1)
            models[bundle] = make(bundle)
            return models[bundle]

        return open_model

    def generator(bundle):
        if bundle == "absent":
            raise BundleNotFoundError("absent")
        return make_toy_generator(str(bundle), (9, 9, 9), vae_family=f"vae of {bundle}")

    open_instead(
        monkeypatch,
        Captioner=opener(lambda _: toy_captioner),
        ImageEncoder=opener(lambda _: toy_encoder),
        ImageGenerator=opener(generator),
    )
    return models


def open_models(spec, folder, **options):
    return models_module.open_resynthesis_models(
        Lineup(spec, folder), None, runtime=Runtime("cpu", threads=1), **options
    )


def test_every_bundle_is_found_by_name_or_path(opened, tmp_path):
    with open_models(SPEC, tmp_path) as models:
        assert models.resynthesizer.names == ("reds", "blues")
        assert models.families["reds"] == "vae of bundle-of-reds"
        assert len(models.digests) == 4
        assert set(opened) == {
            "captioner-bundle",
            "encoder-bundle",
            "bundle-of-reds",
            tmp_path / "bundle-of-blues",
        }
    assert all(model.closed for model in opened.values())


def test_when_one_is_missing_the_others_are_closed(opened, tmp_path):
    spec = LineupSpec("toy", encoder="e", candidates=(CandidateSpec("a", "absent"),))

    with pytest.raises(BundleNotFoundError):
        open_models(spec, tmp_path)

    assert opened["e"].closed


def test_a_cache_is_used_unless_told_otherwise(opened, tmp_path, lineup_home, red_pixels):
    options = ResynthesisOptions(gamma=1)

    with open_models(SPEC, tmp_path, cache=False) as models:
        models.resynthesizer.resyntheses([Query(red_pixels)], options)
    assert not (lineup_home / "cache").exists()

    with open_models(SPEC, tmp_path) as models:
        models.resynthesizer.resyntheses([Query(red_pixels)], options)
    assert list((lineup_home / "cache").rglob("*.png"))
