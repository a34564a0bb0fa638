"""A model that nobody approved is refused where approval is asked for."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from engine.bundle import MANIFEST, SIGNATURE, load_bundle, write_manifest
from engine.cli.model import model
from engine.errors import BundleInvalid
from engine.signature import check_signature, key_id, read_public_keys, sign_manifest

PEM = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_keys(bundle_folder: Path, name: str) -> tuple[Path, Path, str]:
    """Return a private key's file, its public key's and the key's id."""
    private = Ed25519PrivateKey.generate()
    mine, public = bundle_folder / f"{name}.pem", bundle_folder / f"{name}.pub"
    mine.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(*PEM))
    return mine, public, key_id(private.public_key())


def sign(bundle_folder: Path, key: Path) -> str:
    result = CliRunner().invoke(model, ["sign", str(bundle_folder), "--key", str(key)])
    assert result.exit_code == 0, result.exception
    return result.stdout.strip()


def test_a_signed_model_says_who_signed_it(bundle_folder: Path, tmp_path: Path) -> None:
    key, public, identity = write_keys(tmp_path, "mine")
    assert sign(bundle_folder, key) == identity
    assert load_bundle(bundle_folder, public).signed_by == identity
    assert load_bundle(bundle_folder).signed_by is None  # nobody asked


def test_an_unsigned_model_is_refused_where_a_signature_is_asked_for(
    bundle_folder: Path, tmp_path: Path
) -> None:
    _, public, identity = write_keys(tmp_path, "mine")
    with pytest.raises(BundleInvalid, match=f"is not signed, and .* trusts {identity}") as refusal:
        load_bundle(bundle_folder, public)
    assert "fakesieve model sign" in refusal.value.hint


def test_a_stranger_s_signature_is_not_enough(bundle_folder: Path, tmp_path: Path) -> None:
    theirs, _, identity = write_keys(tmp_path, "theirs")
    _, public, _ = write_keys(tmp_path, "mine")
    sign(bundle_folder, theirs)
    with pytest.raises(BundleInvalid, match=f"signed by {identity} alone"):
        load_bundle(bundle_folder, public)


def test_a_manifest_that_was_changed_after_signing_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    key, public, identity = write_keys(tmp_path, "mine")
    sign(bundle_folder, key)
    text = (bundle_folder / MANIFEST).read_text()
    (bundle_folder / MANIFEST).write_text(text.replace("random-compact", "better-compact"))
    assert load_bundle(bundle_folder).name == "better-compact"  # its hashes are right
    with pytest.raises(BundleInvalid, match=f"the signature of {identity} is not of this manifest"):
        load_bundle(bundle_folder, public)


def test_one_key_may_take_over_from_another(bundle_folder: Path, tmp_path: Path) -> None:
    old, old_public, old_id = write_keys(tmp_path, "old")
    new, new_public, new_id = write_keys(tmp_path, "new")
    for key in (old, new, new):
        sign(bundle_folder, key)
    assert len((bundle_folder / SIGNATURE).read_text().splitlines()) == 2
    both = tmp_path / "both.pub"
    both.write_bytes(old_public.read_bytes() + new_public.read_bytes())
    assert set(read_public_keys(both)) == {old_id, new_id}
    assert load_bundle(bundle_folder, old_public).signed_by == old_id
    assert load_bundle(bundle_folder, new_public).signed_by == new_id


def test_a_new_manifest_takes_its_signature_away(bundle_folder: Path, tmp_path: Path) -> None:
    key, _, _ = write_keys(tmp_path, "mine")
    sign(bundle_folder, key)
    write_manifest(load_bundle(bundle_folder))
    assert not (bundle_folder / SIGNATURE).exists()


def test_commands_ask_where_the_environment_names_keys(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, public, identity = write_keys(tmp_path, "mine")
    monkeypatch.setenv("FAKESIEVE_MODEL_KEYS", str(public))
    refused = CliRunner().invoke(model, ["show", str(bundle_folder)])
    assert isinstance(refused.exception, BundleInvalid)
    sign(bundle_folder, key)
    shown = CliRunner().invoke(model, ["verify", str(bundle_folder)])
    assert f"manifest.json: signed by {identity}" in shown.stdout.splitlines()


def test_the_commands_of_the_page_sign_and_verify(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs/howto/sign-models.md").read_text(encoding="utf-8")
    _, _, identity = write_keys(tmp_path, "model-key")
    (tmp_path / "models").mkdir()
    bundle_folder.rename(tmp_path / "models/mine")
    monkeypatch.chdir(tmp_path)
    said = ""
    for line in page.splitlines():
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("="))
        elif line.startswith("fakesieve model "):
            ran = CliRunner().invoke(model, line.split()[2:])
            assert ran.exit_code == 0, (line, ran.exception)
            said += ran.stdout
    assert said.startswith(f"{identity}\n")
    assert f"manifest.json: signed by {identity}" in said


@pytest.mark.parametrize("what", ["nothing", "text", "curve", "missing"])
def test_a_file_without_a_usable_key_trusts_nobody(bundle_folder: Path, tmp_path: Path, what: str) -> None:
    file = tmp_path / "keys.pub"
    if what == "curve":
        file.write_bytes(generate_ec_key(SECP256R1()).public_key().public_bytes(*PEM))
    elif what != "missing":
        file.write_bytes(
            b"" if what == "nothing" else b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"
        )
    with pytest.raises(BundleInvalid):
        load_bundle(bundle_folder, file)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "locked.pem"
    lock = BestAvailableEncryption(b"secret")
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    with pytest.raises(BundleInvalid, match="no private key that can be read"):
        sign_manifest(b"{}", key)


@given(st.binary(max_size=200))
def test_no_bytes_pass_for_a_signature(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    bundle_folder = tmp_path_factory.mktemp("junk")
    _, public, identity = write_keys(bundle_folder, "mine")
    (bundle_folder / SIGNATURE).write_bytes(b"ed25519 " + identity.encode() + b" " + junk)
    with pytest.raises(BundleInvalid):
        check_signature(b"{}", bundle_folder / SIGNATURE, public)
