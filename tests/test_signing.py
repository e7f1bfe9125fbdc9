import base64
import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.files import DamagedJsonError, NotWritableError, read_json
from ayni.signing import (
    FIRST_OF_CHAIN,
    BadSignatureError,
    DamagedKeyError,
    SigningKey,
    canonical_json,
    load_or_create_key,
    sign_record,
    verify_chain,
    verify_record,
)

BODY = {
    "step": "train",
    "energy_microjoules": 12_345,
    "carbon": {"grams_co2e": 0.25, "zone": None},
    "é": ["x"],
}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return load_or_create_key(tmp_path_factory.mktemp("keys") / "signing.pem")


def chain_of(length: int, key: SigningKey) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for number in range(length):
        previous = records[-1]["hash"] if records else FIRST_OF_CHAIN
        records.append(sign_record({"number": number, "previous_hash": previous}, key))
    return records


def test_a_signed_record_survives_json_and_verifies(key: SigningKey) -> None:
    record = json.loads(json.dumps(sign_record(BODY, key)))

    verify_record(record, expected_public_key=key.public_key)


def test_every_changed_byte_of_a_receipt_file_is_noticed_or_changes_nothing(
    key: SigningKey, tmp_path: Path
) -> None:
    record = sign_record(BODY, key)
    path = tmp_path / "receipt.json"
    content = json.dumps(record, indent=1).encode()

    for position in range(len(content)):
        for mask in (0x01, 0x20):
            changed = bytearray(content)
            changed[position] ^= mask
            path.write_bytes(changed)
            try:
                value = read_json(path)
                verify_record(value)
            except (DamagedJsonError, BadSignatureError):
                continue
            assert value == record, f"byte {position} went from {content[position]} to {changed[position]}"


def test_a_signature_has_one_spelling_only(key: SigningKey) -> None:
    record = sign_record(BODY, key)
    # The 88 characters of base64 hold 4 bits that decode to nothing.
    signature = record["signature"]
    twins = [signature[:85] + letter + "==" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij0123456789+/"]
    twins = [twin for twin in twins if twin != signature]
    assert any(base64.b64decode(twin) == base64.b64decode(signature) for twin in twins)

    for twin in twins:
        with pytest.raises(BadSignatureError):
            verify_record({**record, "signature": twin})


def test_another_key_cannot_pass_for_the_expected_one(key: SigningKey, tmp_path: Path) -> None:
    other = load_or_create_key(tmp_path / "other.pem")

    with pytest.raises(BadSignatureError, match="somebody else's record"):
        verify_record(sign_record(BODY, other), expected_public_key=key.public_key)


@pytest.mark.parametrize(
    "forged",
    [
        None,
        [],
        "text",
        {},
        {"public_key": "", "hash": "", "signature": ""},
        {"public_key": 1, "hash": 2, "signature": 3},
        {"public_key": "é", "hash": "é", "signature": "é", "loss": float("nan")},
        {"public_key": "\ud800", "hash": "0", "signature": "0"},
    ],
)
def test_whatever_is_no_signed_record_is_refused_in_words(forged: Any) -> None:
    with pytest.raises(BadSignatureError):
        verify_record(forged)


def test_a_body_that_claims_to_be_signed_is_not_signed_again(key: SigningKey) -> None:
    with pytest.raises(ValueError, match="hash and signature already"):
        sign_record({"hash": "a", "signature": "b"}, key)


@pytest.mark.parametrize("value", [{1: "a"}, [{"a": {None: 1}}], {"a": float("inf")}, "\ud800"])
def test_what_would_not_survive_json_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_the_canonical_form_survives_a_round_trip_through_json(value: Any) -> None:
    try:
        canonical = canonical_json(value)
    except UnicodeEncodeError:
        return  # lone surrogates

    assert canonical_json(json.loads(json.dumps(value, indent=2))) == canonical


def test_the_canonical_form_is_the_documented_one() -> None:
    assert canonical_json({"b": [1, 1.0, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,1.0,null]}'.encode()


def test_a_chain_verifies_and_any_removal_repeat_or_swap_inside_it_does_not(key: SigningKey) -> None:
    records = chain_of(4, key)
    verify_chain(records, expected_public_key=key.public_key)
    verify_chain([])

    first, second, third, fourth = records
    for broken in (
        [second, third, fourth],
        [first, third, fourth],
        [first, second, second, third],
        [first, third, second, fourth],
        [first, second, third, sign_record({"number": 3, "previous_hash": first["hash"]}, key)],
    ):
        with pytest.raises(BadSignatureError, match="missing, repeated or out of order"):
            verify_chain(broken)


def test_a_key_is_made_once_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"

    first, second = load_or_create_key(path), load_or_create_key(path)

    assert first.public_key == second.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(base64.b64decode(first.public_key)) == 32


def test_a_key_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    load_or_create_key(path)
    path.chmod(0o644)

    load_or_create_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def _public_key_at(path: Path, start: Any, found: Any) -> None:
    start.wait()
    found.put(load_or_create_key(path).public_key)


@pytest.mark.cluster
def test_processes_that_make_the_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, found = context.Barrier(6), context.Queue()
    arguments = (tmp_path / "keys" / "signing.pem", start, found)
    processes = [context.Process(target=_public_key_at, args=arguments) for _ in range(6)]

    for process in processes:
        process.start()
    public_keys = {found.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()

    assert len(public_keys) == 1


def _rsa_pem() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n", _rsa_pem()])
def test_a_file_that_is_no_key_of_ours_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(content)

    with pytest.raises(DamagedKeyError, match="Put back the right file"):
        load_or_create_key(path)

    assert path.read_bytes() == content


def test_a_key_in_a_home_that_is_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(NotWritableError):
        load_or_create_key(tmp_path / "home" / "keys" / "signing.pem")


def test_a_signing_key_does_not_print_its_secret(key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    shown = repr(load_or_create_key(path))

    secret = path.read_text().splitlines()[1]
    assert secret not in shown
