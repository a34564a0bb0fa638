"""Signatures of a bundle's manifest: who approved a model, where its hashes only say that it is whole.

``manifest.sig`` lies beside the manifest and has one line for each signature: ``ed25519``, the key's id and
the signature in base64. What is signed is ``CONTEXT`` and then the manifest, byte for byte, with Ed25519 (RFC
8032); since the manifest holds the hash of every other file, this covers the bundle. A key's id is the first
16 hexadecimal digits of the SHA-256 of its 32 bytes. Keys are PEM, as OpenSSL writes them; a file of trusted
keys may hold several, so that one can take over from another.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from engine.errors import BundleInvalid
from engine.results import RejectReason

CONTEXT = b"fakesieve model manifest, version 1\n"
_ALGORITHM = "ed25519"
_FILE_BYTES_MAX = 1 << 16  # some hundreds of keys or signatures
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_MAKE_KEY = "make one with: openssl genpkey -algorithm ed25519 -out model-key.pem"


def sign_manifest(manifest: bytes, key: Path) -> str:
    """Return the line of ``manifest.sig``. ``key`` is an Ed25519 private key in PEM, without a password.

    Raises BundleInvalid for a file that is no such key.
    """
    private = _read_private_key(key)
    signature = base64.b64encode(private.sign(CONTEXT + manifest)).decode()
    return f"{_ALGORITHM} {key_id(private.public_key())} {signature}\n"


def check_signature(manifest: bytes, signatures: Path, trusted: Path) -> str:
    """Return the id of the trusted key that signed the manifest.

    ``signatures`` is ``manifest.sig``, ``trusted`` a file of public keys in PEM. Raises BundleInvalid where
    no trusted key has signed it, or the signature is of other bytes.
    """
    keys = read_public_keys(trusted)
    seen: list[str] = []
    for identity, signature in _read_signatures(signatures):
        seen.append(identity)
        if identity in keys:
            _verify(keys[identity], identity, signature, manifest)
            return identity
    by = f"signed by {', '.join(seen)} alone" if seen else "not signed"
    raise _refuse(
        f"the manifest beside {signatures} is {by}, and {trusted} trusts {', '.join(sorted(keys))}",
        "look at who made the model; if you approve it: fakesieve model sign DIR --key PRIVATE_KEY",
    )


def read_public_keys(file: Path) -> Mapping[str, Ed25519PublicKey]:
    """Return the Ed25519 public keys of a PEM file by their ids. Raises BundleInvalid if it holds none."""
    keys: dict[str, Ed25519PublicKey] = {}
    for block in _PEM.findall(_read(file, "the file of trusted keys")):
        try:
            public = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as fault:
            raise _refuse(f"a key in {file} cannot be read: {fault}", _MAKE_KEY) from fault
        if not isinstance(public, Ed25519PublicKey):
            raise _refuse(f"a key in {file} is not Ed25519", _MAKE_KEY)
        keys[key_id(public)] = public
    if not keys:
        raise _refuse(
            f"{file} holds no public key", "openssl pkey -in model-key.pem -pubout -out model-key.pub"
        )
    return keys


def key_id(key: Ed25519PublicKey) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _verify(key: Ed25519PublicKey, identity: str, signature: bytes, manifest: bytes) -> None:
    try:
        key.verify(signature, CONTEXT + manifest)
    except InvalidSignature as fault:
        raise _refuse(
            f"the signature of {identity} is not of this manifest: one of them was altered",
            "copy the whole bundle from where it was signed, or sign it again if you approve the change",
        ) from fault


def _read_signatures(file: Path) -> list[tuple[str, bytes]]:
    if not file.is_file():
        return []
    found: list[tuple[str, bytes]] = []
    for number, line in enumerate(_read(file, "the signature").splitlines(), start=1):
        try:
            algorithm, identity, text = line.decode("ascii").split(" ")
            if algorithm != _ALGORITHM:
                continue  # of a later version; others of the file may do
            found.append((identity, base64.b64decode(text, validate=True)))
        except (ValueError, binascii.Error) as fault:
            raise _refuse(f"line {number} of {file} is no signature", "sign the model again") from fault
    return found


def _read_private_key(file: Path) -> Ed25519PrivateKey:
    try:
        private = load_pem_private_key(_read(file, "the private key"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:  # TypeError: the key is encrypted
        raise _refuse(f"{file} is no private key that can be read: {fault}", _MAKE_KEY) from fault
    if not isinstance(private, Ed25519PrivateKey):
        raise _refuse(f"{file} is not an Ed25519 key", _MAKE_KEY)
    return private


def _read(file: Path, what: str) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(_FILE_BYTES_MAX + 1)
    except OSError as fault:
        raise _refuse(
            f"{what} {file} cannot be read: {fault.strerror}", "give the path of the file"
        ) from fault
    if len(data) > _FILE_BYTES_MAX:
        raise _refuse(f"{what} {file} is larger than {_FILE_BYTES_MAX} bytes", "give the path of the file")
    return data


def _refuse(seen: str, hint: str) -> BundleInvalid:
    return BundleInvalid(RejectReason.MODEL_INVALID, seen, hint)
