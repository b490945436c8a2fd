"""Models that take turns: loaded for a block, closed at its end."""

import pytest

from lineup.resynthesis.making import ModelSource


@pytest.fixture
def opened():
    return []


@pytest.fixture
def models(opened, make_toy_generator, toy_encoder):
    def opener(make):
        def open_model():
            assert all(one.closed for one in opened)  # the one before was released
            opened.append(make())
            return opened[-1]

        return open_model

    generators = {
        name: opener(lambda name=name: make_toy_generator(name, (1, 2, 3))) for name in ("a", "b")
    }
    return ModelSource.loading(
        generators, encoder=opener(type(toy_encoder)), encoder_traits=toy_encoder
    )


def test_nothing_is_loaded_before_it_has_work(models, opened, toy_encoder):
    assert list(models.generators) == ["a", "b"]
    assert models.encoder_traits is toy_encoder
    assert opened == []


def test_each_block_loads_and_releases_its_model(models, opened):
    for block in (models.generators["a"](), models.generators["b"](), models.encoder()):
        with block as model:
            assert not model.closed
        assert model.closed
    assert len(opened) == 3


def test_a_block_that_fails_releases_its_model_too(models, opened):
    with pytest.raises(KeyError), models.generators["a"]():
        raise KeyError

    assert opened[0].closed
