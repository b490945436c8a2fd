from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from lineup.classifier import (
    CLASSIFIER_FILE,
    OpenSetClassifier,
    read_classifier,
    write_classifier,
)
from lineup.errors import ClassifierError
from lineup_lab.fit_classifier import classifier_from_fingerprints

HEADER_KEY = CLASSIFIER_FILE.header_key


@pytest.fixture
def classifier(rows) -> OpenSetClassifier:
    return classifier_from_fingerprints(
        {name: rows(10, i) for i, name in enumerate("ab")},
        fingerprint_digest="d1ge57",
        reject=rows(10),
        provenance="tests",
        version="1.2.3",
    )


@pytest.fixture
def path(tmp_path, classifier):
    made = tmp_path / "c.safetensors"
    write_classifier(made, classifier)
    return made


def rewrite(path, *, header=None, tensors=None):
    """Write the file again with changed header fields or tensors."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    old = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER_KEY])
    path.write_bytes(
        save({**load(data), **(tensors or {})}, {HEADER_KEY: json.dumps({**old, **(header or {})})})
    )


def test_what_was_written_comes_back(path, classifier, rows):
    back = read_classifier(path)
    back.check_fingerprint("d1ge57")

    assert back.classes == ("a", "b")
    assert back.has_reject
    assert back.training == classifier.training
    queries = rows(5, 0, seed=3)
    np.testing.assert_array_equal(back.probabilities(queries), classifier.probabilities(queries))


def test_same_classifier_same_bytes(path, classifier, tmp_path):
    write_classifier(tmp_path / "again.safetensors", classifier)

    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_other_fingerprint_is_refused_with_what_to_do(path):
    with pytest.raises(ClassifierError, match="was fitted on the fingerprint d1ge57") as caught:
        read_classifier(path).check_fingerprint("0ther")

    assert "lineup fit-open-set" in str(caught.value.hint)


def test_altered_weights_are_refused(path, classifier):
    rewrite(path, tensors={"bias": classifier.bias + np.float32(1)})

    with pytest.raises(ClassifierError, match="altered or damaged"):
        read_classifier(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"schema_version": 2}, "schema_version is 2, but this lineup reads up to 1"),
        ({"schema_version": None}, "schema_version: expected 1, got None"),
        ({"classes": ["a", 3]}, r"classes\[1\]: expected str, got 3"),
        ({"classes": ["a", "b", "c"]}, "'has_reject' does not fit"),
        ({"classes": ["a", "a"]}, "different classes"),
        ({"has_reject": False}, "'has_reject' does not fit"),
        ({"fingerprint": {}}, "fingerprint.digest: missing"),
        ({"training": {"counts": {"a": "many"}}}, "training.counts.a: expected int, got 'many'"),
        ({"sha256": 5}, "sha256: expected str, got 5"),
    ],
)
def test_header_that_is_wrong_is_refused(path, header, message):
    rewrite(path, header=header)

    with pytest.raises(ClassifierError, match=message):
        read_classifier(path)


def test_missing_tensor_is_refused(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    path.write_bytes(save({"weights": load(data)["weights"]}, metadata))

    with pytest.raises(ClassifierError, match="lacks the tensor 'bias'"):
        read_classifier(path)


@pytest.mark.parametrize("data", [b"", b"no tensors at all", b"\xff" * 64])
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "x").write_bytes(data)

    with pytest.raises(ClassifierError, match="not a valid safetensors file"):
        read_classifier(tmp_path / "x")


def test_safetensors_of_something_else_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(save({"weights": np.zeros(3, np.float32)}))

    with pytest.raises(ClassifierError, match="is not a classifier") as caught:
        read_classifier(tmp_path / "x")

    assert "fit-open-set" in str(caught.value.hint)


def test_every_cut_of_the_file_is_an_error_of_the_tree(path):
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        with pytest.raises(ClassifierError):
            read_classifier(path)


def test_absent_file_and_unwritable_place_are_errors_of_the_tree(tmp_path, classifier):
    with pytest.raises(ClassifierError, match="is not a file"):
        read_classifier(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(ClassifierError, match="cannot be written"):
        write_classifier(tmp_path / "file" / "c.safetensors", classifier)
