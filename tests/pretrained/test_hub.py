"""`hf://user/repo`: the hub's real client, in another process, with a local server in place of the hub."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Start
from .server import FileServer, Page

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_FILES = {
    "tiny.yaml": b"models: [aaaa, bbbb]\n",
    "config.json": b"{}",
    "old.th": b"a pickle",
    "README.md": b"hello",
}

# Loads models in another process, and prints what came of it.
LOAD = """
import json, sys
from hdemucs.errors import HDemucsError
from hdemucs.pretrained import load_model
try:
    models = [load_model(spec) for spec in sys.argv[1:]]
except HDemucsError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
else:
    print(json.dumps([[model.name, len(model.models)] for model in models]))
"""


class Hub:
    """A hub with one repository, and one user of it with an empty cache."""

    def __init__(self, server: FileServer, start: Start, home: Path, weights: bytes) -> None:
        self.server, self.start, self.home = server, start, home
        self.files = {**OTHER_FILES, "aaaa.safetensors": weights, "bbbb.safetensors": weights}
        for revision in ("main", "v1"):
            siblings = [{"rfilename": name} for name in self.files]
            info = {"id": "user/tiny", "sha": COMMIT, "siblings": siblings, "private": False}
            server.add(f"/api/models/user/tiny/revision/{revision}", json.dumps(info).encode())
        tree = [
            {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
            for name, body in self.files.items()
        ]
        server.add(f"/api/models/user/tiny/tree/{COMMIT}", json.dumps(tree).encode())
        for name, body in self.files.items():
            etag = f'"{hashlib.sha1(body).hexdigest()}"'
            server.add(f"/user/tiny/resolve/{COMMIT}/{name}", body, ETag=etag, X_Repo_Commit=COMMIT)

    def load(self, *specs: str, **variables: str) -> Any:
        """Name and number of members of each model."""
        out = self._run(*specs, **variables)
        assert isinstance(out, list), out
        return out

    def fail(self, spec: str = "hf://user/tiny", **variables: str) -> dict[str, str]:
        """Type and message of the error that loading a model raises."""
        out = self._run(spec, **variables)
        assert isinstance(out, dict)
        assert "\n" not in out["message"]
        return out

    def _run(self, *specs: str, **variables: str) -> Any:
        variables = {
            "HF_ENDPOINT": self.server.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            **variables,
        }
        out, err = self.start(LOAD, *specs, **variables).communicate(timeout=60)
        assert out, err
        return json.loads(out)


@pytest.fixture
def hub(server: FileServer, start: Start, tmp_path: Path, tiny: Path) -> Hub:
    return Hub(server, start, tmp_path / "hub", tiny.read_bytes())


@pytest.mark.slow
def test_a_repository_becomes_a_bag_without_pickles_and_is_cached(hub: Hub) -> None:
    assert hub.load("hf://user/tiny", "hf://user/tiny@v1") == [["user_tiny", 2]] * 2
    paths = [request.path for request in hub.server.log]
    assert "/api/models/user/tiny/revision/v1" in paths
    fetched = {path.rsplit("/", 1)[-1] for path in paths if "resolve" in path}
    assert fetched == {name for name in hub.files if not name.endswith((".th", ".md"))}

    hub.server.log.clear()
    assert hub.load("hf://user/tiny", HF_HUB_OFFLINE="1") == [["user_tiny", 2]]
    assert hub.server.log == []


def test_missing_revision(hub: Hub) -> None:
    hub.server.pages["/api/models/user/tiny/revision/v2"] = Page(
        b"", {"X-Error-Code": "RevisionNotFound"}, status=404
    )
    failure = hub.fail("hf://user/tiny@v2")
    assert failure["error"] == "DownloadError"
    assert "has no revision v2" in failure["message"]


@pytest.mark.parametrize(
    ("code", "status", "complaint"),
    [
        ("RepoNotFound", 404, "does not exist, or is private"),
        ("GatedRepo", 403, "accept its terms"),
        ("", 500, "cannot download hf://user/tiny: "),
    ],
)
def test_refusing_hub(hub: Hub, code: str, status: int, complaint: str) -> None:
    page = Page(b"", {"X-Error-Code": code} if code else {}, status=status)
    hub.server.pages["/api/models/user/tiny/revision/main"] = page
    failure = hub.fail()
    assert failure["error"] == "DownloadError"
    assert complaint in failure["message"]


def test_offline_without_a_copy(hub: Hub) -> None:
    failure = hub.fail(HF_HUB_OFFLINE="1")
    assert failure["error"] == "DownloadError"
    assert "HF_HUB_OFFLINE is set" in failure["message"]
    assert hub.server.log == []


def test_no_network(hub: Hub) -> None:
    failure = hub.fail(HF_ENDPOINT="http://127.0.0.1:9")
    assert failure["error"] == "DownloadError"
    assert "hf://user/tiny" in failure["message"]


def test_repository_without_a_model(hub: Hub) -> None:
    info = {"id": "user/tiny", "sha": COMMIT, "siblings": [{"rfilename": "config.json"}]}
    tree = [{"type": "file", "path": "config.json", "size": 2, "oid": "0" * 40}]
    hub.server.add("/api/models/user/tiny/revision/main", json.dumps(info).encode())
    hub.server.add(f"/api/models/user/tiny/tree/{COMMIT}", json.dumps(tree).encode())
    failure = hub.fail()
    assert failure["error"] == "UnknownModelError"
    assert "must contain one model" in failure["message"]
