"""Pictures, and files that declare something: signed by certificates of the test, or written."""

import datetime as dt
import io

import c2pa
import numpy as np
import PIL.Image
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lineup.origin import credentials

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NOW = dt.datetime.now(dt.timezone.utc)


@pytest.fixture(scope="session")
def picture():
    return PIL.Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    )


def _name(common, organisation):
    parts = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _certificate(subject, key, issuer, issuer_key, *, is_authority):
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    usage |= {"digital_signature": not is_authority, "key_cert_sign": is_authority}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=2))
        .not_valid_after(NOW + dt.timedelta(days=20))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.KeyUsage(**usage, crl_sign=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not is_authority:
        mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(mail, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


class Signer:
    """Signs pictures as "Example, LLC", for whom the authority `root` vouches."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        root_key = ec.generate_private_key(ec.SECP256R1())
        issuer = _name("Test Root", "Tests")
        self.root = _certificate(issuer, root_key, issuer, root_key, is_authority=True)
        subject = _name("Example Signer", "Example, LLC")
        leaf = _certificate(subject, self.key, issuer, root_key, is_authority=False)
        self.chain = leaf + self.root

    def _sign(self, data):
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def signed(self, data, *, edits=False, mime="image/png", **changes):
        """Return a file with a manifest: of a picture that was generated, or of an edit of it."""
        action = {
            "action": "c2pa.created",
            "softwareAgent": {"name": "GPT-4o"},
            "digitalSourceType": TRAINED,
        }
        actions = [{"action": "c2pa.color_adjustments"}] if edits else [action]
        manifest = {
            "claim_generator_info": [{"name": "ChatGPT", "version": "4.2"}],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
        } | changes
        signer = c2pa.Signer.from_callback(self._sign, c2pa.C2paSigningAlg.ES256, self.chain, None)
        out = io.BytesIO()
        with c2pa.Builder(manifest) as builder:
            if edits:
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.sign(signer, mime, io.BytesIO(data), out)
        return out.getvalue()


@pytest.fixture(scope="session")
def signer():
    return Signer()


@pytest.fixture
def trusting(signer, tmp_path, monkeypatch):
    """Put the test's authority on the trust list."""
    path = tmp_path / "trusted.pem"
    path.write_text(signer.root)
    monkeypatch.setenv(credentials.TRUST_LIST_VARIABLE, str(path))


@pytest.fixture
def saved(picture):
    def save(image_format="PNG", **options):
        out = io.BytesIO()
        picture.save(out, image_format, **options)
        return out.getvalue()

    return save
