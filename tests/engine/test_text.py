import pytest

from lineup.text import shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("naïve 图片 🙂.png", "naïve 图片 🙂.png"),
        ("\x1b[31mred\x07\x7f\x9b", "\\x1b[31mred\\x07\\x7f\\x9b"),
        ("a\nb\r\tc\u2028", "a\\nb\\r\\tc\\u2028"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        (b"caf\xe9.png".decode("utf-8", "surrogateescape"), "caf\\udce9.png"),
        ("at 1.00\u202fPM\u3000x", "at 1.00\u202fPM\u3000x"),
        ("", ""),
    ],
)
def test_only_what_prints_is_printed(text, expected):
    assert shown(text) == expected
    shown(text).encode("utf-8")


def test_a_text_is_bounded():
    assert shown("x" * 100, 5) == "xxxxx..."
    assert shown("12345", 5) == "12345"
    assert len(shown("\x1b" * 10**6)) < 17_000
