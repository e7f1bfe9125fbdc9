"""The whole of `ayni serve`, as a process."""

import datetime
import signal
import ssl
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from tests.server.hub_app import inline, ndjson
from tests.server.serving import serving, start

pytestmark = pytest.mark.slow


def test_the_first_start_makes_an_admin_and_says_how_to_use_the_token(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert f"export HF_ENDPOINT={served.url}" in served.text
        assert served.get("/api/whoami-v2", served.token).json()["name"] == "admin"
        assert served.get("/api/v1/health").json() == {"status": "ok"}
        assert served.stop() == 0
    with serving(tmp_path) as again:
        assert again.token is None
        assert again.get("/api/whoami-v2", served.token).status_code == 200
        assert again.stop(signal.SIGINT) == 0
    assert served.token not in again.text


def test_a_second_server_on_the_port_says_so_and_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as served:
        port = served.url.rpartition(":")[2]
        second = start(tmp_path / "b", "--port", port)

        assert second.process.wait(timeout=60) == 2
        assert "another program listens there" in second.process.stderr.read() + second.text
        assert not (tmp_path / "b").exists()


def test_a_file_goes_in_and_comes_back_also_encrypted(tmp_path: Path) -> None:
    with serving(tmp_path, AYNI_MASTER_KEY_FILE=str(tmp_path / "m.keys")) as served:
        auth = {"Authorization": f"Bearer {served.token}"}
        made = served.client.post("/api/repos/create", json={"name": "x"}, headers=auth)
        assert made.status_code == 200, made.text
        body = (
            b'{"key": "header", "value": {"summary": "Add"}}\n'
            b'{"key": "file", "value": {"path": "a.txt", "content": "c2VjcmV0", "encoding": "base64"}}'
        )
        done = served.client.post("/api/models/admin/x/commit/main", content=body, headers=auth)
        assert done.status_code == 200, done.text

        assert served.get("/admin/x/resolve/main/a.txt").content == b"secret"
        assert served.stop() == 0
    kept = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert kept and not any(b"secret" in path.read_bytes() for path in kept)
    unkeyed = start(tmp_path)
    assert unkeyed.process.wait(timeout=60) == 2


def test_with_a_certificate_it_answers_by_tls(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with serving(tmp_path / "home", *options) as served:
        context = ssl.create_default_context(cafile=str(certificate))

        reply = httpx.get(f"{served.url}/api/v1/health", verify=context, trust_env=False)

        assert served.url.startswith("https://127.0.0.1:")
        assert reply.json() == {"status": "ok"}


def _certificate(folder: Path) -> tuple[Path, Path]:
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate, key = folder / "chain.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key


def test_signers_that_the_operator_names_are_shown_and_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "hub" / "golden"
    (tmp_path / "lab.pub").write_bytes((golden / "model_signing_p256.pub").read_bytes())
    signers = tmp_path / "signers"
    signers.write_text("lab.pub The Lab\n")
    files = {name: name.encode() for name in ("model.safetensors", "README.md", "a/b.json")}
    files["model.sig"] = (golden / "model_signing_p256.sig").read_bytes()

    with serving(tmp_path / "home", AYNI_HUB_KNOWN_SIGNERS=str(signers)) as served:
        auth = {"Authorization": f"Bearer {served.token}"}
        served.client.post("/api/repos/create", json={"name": "x"}, headers=auth)
        body = ndjson("Add", *(inline(path, content) for path, content in files.items()))
        done = served.client.post("/api/models/admin/x/commit/main", content=body, headers=auth)
        assert done.status_code == 200, done.text
        page = served.get("/admin/x").text
        served.stop()
    signers.write_text("gone.pub The Lab\n")
    refused = start(tmp_path / "home", AYNI_HUB_KNOWN_SIGNERS=str(signers))

    assert "signed by The Lab" in page
    assert refused.process.wait(timeout=60) == 2
