"""Names that generators give themselves, and the sources of the gallery that they may be."""

import pytest

from lineup.claims import Claim, ClaimKind
from lineup.gallery.opening import shipped_gallery
from lineup.origin.generators import _table, with_sources


def claim(generator, kind=ClaimKind.GENERATED, **details):
    return with_sources(Claim("c2pa", kind, "signed", generator, details=details))


def test_the_table_names_sources_of_the_shipped_gallery():
    _, known = _table()

    assert known <= {one.name for one in shipped_gallery().candidates}


@pytest.mark.parametrize(
    ("generator", "details", "sources"),
    [
        ("ChatGPT", {"software agent": "GPT-4o"}, ("gpt-4o",)),
        ("ChatGPT", {"software agent": "DALL·E"}, ("dalle3",)),
        ("ChatGPT", {}, ("dalle3", "gpt-4o")),
        ("OpenAI Media Service API", {"software agent": "gpt-image 2.0"}, ()),
        ("Microsoft_Responsible_AI", {}, ("dalle3", "gpt-4o")),
        ("Midjourney", {}, ()),
        ("Forge", {"Model": "v1-5-pruned-emaonly"}, ("sd15",)),
        ("ComfyUI", {"ckpt": "sd_xl_base_1.0.safetensors"}, ()),
    ],
)
def test_versions_count_before_names(generator, details, sources):
    found = claim(generator, **details)

    assert found.sources == sources
    assert not set(found.sources) & set(found.excludes)
    assert found.excludes


@pytest.mark.parametrize("generator", ["Nobody's Generator", "ComfyUI", None])
def test_nothing_is_said_of_a_name_that_nobody_knows(generator):
    assert (claim(generator).sources, claim(generator).excludes) == ((), ())


def test_cameras_have_no_source():
    assert claim("Google Pixel", ClaimKind.CAPTURED).excludes == ()
