"""C2PA: the four states, told apart; who made it, of what; and what is missing says so."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import pytest
from cryptography import x509

from lineup.claims import ClaimKind, Signature
from lineup.origin import credentials, origin_from_file

CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def only_claim(data):
    (claim,) = origin_from_file(data).claims
    return claim


def flipped(data, text, offset=0):
    at = data.index(text) + offset
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_a_trusted_signature(image_format, saved, signer, trusting):
    data = signer.signed(saved(image_format), mime=f"image/{image_format.lower()}")
    claim = only_claim(data)

    assert claim.signature is Signature.TRUSTED
    assert claim.kind is ClaimKind.GENERATED
    assert claim.text == "made with ChatGPT 4.2, signed by Example, LLC, signature holds"
    assert claim.details["software agent"] == "GPT-4o"
    assert claim.details["certificate"] == "Example Signer"
    assert claim.sources == ("gpt-4o",)
    assert "dalle3" in claim.excludes


def test_a_signer_that_nobody_vouches_for(saved, signer):
    claim = only_claim(signer.signed(saved()))

    assert claim.signature is Signature.UNTRUSTED
    assert claim.strength.endswith("signature holds, signer not in the trust list")


@pytest.mark.parametrize(
    ("where", "offset", "words"),
    [
        (b"IDAT", 100, "the picture was changed"),
        (b"GPT-4o", 0, "a statement was changed"),
        (b"ChatGPT", 0, "the signature does not fit"),
    ],
)
def test_what_is_broken_is_said(where, offset, words, saved, signer, trusting):
    claim = only_claim(flipped(signer.signed(saved()), where, offset))

    assert claim.signature is Signature.BROKEN
    assert f"broken: {words}" in claim.strength


def test_a_manifest_that_cannot_be_read_is_broken(saved, signer):
    claim = only_claim(flipped(signer.signed(saved()), b"jumb"))

    assert claim.signature is Signature.BROKEN
    assert "cannot be read" in claim.strength
    assert claim.kind is ClaimKind.PROCESSED


def test_nothing_signed_is_nothing(saved):
    assert origin_from_file(saved()).claims == ()


def test_boxes_of_another_kind_are_nothing(saved):
    data, box = saved("JPEG"), b"JP\x00\x01\x00\x00\x00\x01" + b"\x00\x00\x00\x08jumb"
    segment = b"\xff\xeb" + (len(box) + 2).to_bytes(2, "big") + box

    assert origin_from_file(data[:2] + segment + data[2:]).claims == ()


def test_what_an_edited_picture_was_made_from_counts(saved, signer, trusting):
    original = signer.signed(saved())
    editor = [{"name": "Some Editor", "version": "7"}]
    edited = signer.signed(original, edits=True, claim_generator_info=editor)
    claim = only_claim(edited)

    assert (claim.kind, claim.generator) == (ClaimKind.GENERATED, "ChatGPT")
    assert claim.details["last program"] == "Some Editor 7"
    assert claim.details["made from"] == "a file without a title (parentOf)"


def test_a_signed_capture_is_a_camera(saved, signer):
    actions = [{"action": "c2pa.created", "digitalSourceType": CAPTURE}]
    assertions = [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]

    assert only_claim(signer.signed(saved(), assertions=assertions)).kind is ClaimKind.CAPTURED


def test_the_shipped_list_holds_what_its_date_says():
    text = (resources.files("lineup") / "data" / credentials.TRUST_LIST).read_text("utf-8")
    found = x509.load_pem_x509_certificates(text.encode())
    by_subject = {one.subject: one for one in found}

    assert len(by_subject) == 29
    for one in found:
        if one.issuer in by_subject:
            one.verify_directly_issued_by(by_subject[one.issuer])


def test_a_trust_list_that_cannot_be_read_is_a_note(saved, signer, monkeypatch, tmp_path):
    monkeypatch.setenv(credentials.TRUST_LIST_VARIABLE, str(tmp_path / "none.pem"))
    origin = origin_from_file(signer.signed(saved()))

    assert origin.claims == ()
    assert "none.pem" in origin.notes[0]


def test_without_the_reader_signed_data_are_a_note(saved, signer, monkeypatch):
    data = signer.signed(saved())
    monkeypatch.setitem(sys.modules, "c2pa", None)

    assert origin_from_file(data).notes == (
        "signed C2PA data are there and were not read: pip install c2pa-python",
    )


def test_threads_share_the_trust_list(saved, signer, trusting):
    files = [signer.signed(saved(format_name), mime=mime) for format_name, mime in (
        ("PNG", "image/png"), ("JPEG", "image/jpeg"),
    )] * 8  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        states = {only.signature for only in pool.map(only_claim, files)}

    assert states == {Signature.TRUSTED}


def test_the_reader_is_loaded_by_files_that_need_it_alone(saved, tmp_path):
    path = tmp_path / "plain.png"
    path.write_bytes(saved())
    program = (
        "import sys; from pathlib import Path; from lineup.origin import origin_from_file; "
        f"origin_from_file(Path({str(path)!r}).read_bytes()); "
        "sys.exit('c2pa' in sys.modules or 'msgspec' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
