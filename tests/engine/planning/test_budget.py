import pytest

from lineup.errors import UsageError
from lineup.planning.budget import bytes_from_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 * 2**30),
        ("2 gib", 2 * 2**30),
        ("900MiB", 900 * 2**20),
        ("1.5GB", 1_500_000_000),
        ("4096", 4096),
    ],
)
def test_bytes_from_text(text, size):
    assert bytes_from_text(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "0", "2 apples", "1e9", "2GiB 3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="not a size"):
        bytes_from_text(text)
