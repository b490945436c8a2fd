import inspect

import pytest

import lineup
from lineup import errors


def test_every_public_name_resolves():
    for name in lineup.__all__:
        assert getattr(lineup, name) is not None


def test_the_lazy_table_and_all_agree():
    assert {*lineup._TARGET_FROM_NAME, "__version__"} == set(lineup.__all__)
    assert dir(lineup) == sorted(lineup.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lineup.nothing


def test_every_error_is_in_the_tree_and_in_its_drawing():
    for _, error in inspect.getmembers(errors, inspect.isclass):
        assert issubclass(error, errors.LineupError)
        assert error.__name__ in errors.__doc__


def test_a_hint_follows_the_message():
    error = errors.UsageError("what was given", hint="what to do next")

    assert str(error) == "what was given\nwhat to do next"
    assert error.exit_code == 2
    assert errors.ImageError("broken").exit_code == 1
