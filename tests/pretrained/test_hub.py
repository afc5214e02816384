"""`hf://user/repo`: the real client of the hub, in another process, with a local server in place of the hub."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

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
    print(json.dumps([[model.name, len(model.networks), model.sources] for model in models]))
"""


class Hub:
    """A hub with one repository, and one user of it with an empty cache."""

    def __init__(self, server: FileServer, start: Start, home: Path) -> None:
        self.server, self.start, self.home = server, start, home
        for revision in ("main", "v1"):
            siblings = [{"rfilename": name} for name in FILES]
            info = {"id": "user/tiny", "sha": COMMIT, "siblings": siblings, "private": False}
            server.add(f"/api/models/user/tiny/revision/{revision}", json.dumps(info).encode())
        tree = [
            {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
            for name, body in FILES.items()
        ]
        server.add(f"/api/models/user/tiny/tree/{COMMIT}", json.dumps(tree).encode())
        for name, body in FILES.items():
            etag = f'"{hashlib.sha1(body).hexdigest()}"'
            server.add(f"/user/tiny/resolve/{COMMIT}/{name}", body, ETag=etag, X_Repo_Commit=COMMIT)

    def load(self, spec: str, **variables: str) -> dict[str, object]:
        variables = {
            "HF_ENDPOINT": self.server.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            **variables,
        }
        out, err = self.start(LOAD, spec, **variables).communicate(timeout=60)
        assert out, err
        result: dict[str, object] = json.loads(out)
        assert "\n" not in str(result.get("message"))
        return result

    def fail(self, page: Page) -> dict[str, object]:
        self.server.pages["/api/models/user/tiny/revision/main"] = page
        return self.load("hf://user/tiny")


@pytest.fixture
def hub(server: FileServer, start: Start, tmp_path: Path) -> Hub:
    return Hub(server, start, tmp_path / "hub")


def test_repository_becomes_a_bag_without_pickles_and_is_kept(hub: Hub) -> None:
    loaded = hub.load("hf://user/tiny")
    assert loaded["name"] == "user_tiny"
    assert loaded["file"] == "tiny.yaml"
    wanted = {name: body.decode() for name, body in FILES.items() if not name.endswith((".th", ".md"))}
    assert loaded["files"] == wanted
    fetched = {request.path.rsplit("/", 1)[-1] for request in hub.server.log if "resolve" in request.path}
    assert fetched == set(wanted)

    hub.server.log.clear()
    assert hub.load("hf://user/tiny", HF_HUB_OFFLINE="1") == loaded
    assert hub.server.log == []


def test_revision(hub: Hub) -> None:
    assert hub.load("hf://user/tiny@v1")["name"] == "user_tiny"
    assert "/api/models/user/tiny/revision/v1" in [request.path for request in hub.server.log]


def test_missing_revision(hub: Hub) -> None:
    hub.server.pages["/api/models/user/tiny/revision/v2"] = Page(
        b"", {"X-Error-Code": "RevisionNotFound"}, status=404
    )
    failure = hub.load("hf://user/tiny@v2")
    assert failure["error"] == "DownloadError"
    assert "has no revision v2" in str(failure["message"])


@pytest.mark.parametrize(
    ("code", "status", "complaint"),
    [
        ("RepoNotFound", 404, "does not exist, or is private"),
        ("GatedRepo", 403, "accept its terms"),
        ("", 500, "Cannot download hf://user/tiny: "),
    ],
)
def test_refusing_hub(hub: Hub, code: str, status: int, complaint: str) -> None:
    failure = hub.fail(Page(b"", {"X-Error-Code": code} if code else {}, status=status))
    assert failure["error"] == "DownloadError"
    assert complaint in str(failure["message"])


def test_offline_without_a_copy(hub: Hub) -> None:
    failure = hub.load("hf://user/tiny", HF_HUB_OFFLINE="1")
    assert failure["error"] == "DownloadError"
    assert "HF_HUB_OFFLINE is set" in str(failure["message"])
    assert hub.server.log == []


def test_no_network(hub: Hub) -> None:
    failure = hub.load("hf://user/tiny", HF_ENDPOINT="http://127.0.0.1:9")
    assert failure["error"] == "DownloadError"
    assert "hf://user/tiny" in str(failure["message"])


def test_repository_without_a_model(hub: Hub) -> None:
    for name in ("tiny.yaml", "aaaa.safetensors", "bbbb.safetensors"):
        del hub.server.pages[f"/user/tiny/resolve/{COMMIT}/{name}"]
    info = {"id": "user/tiny", "sha": COMMIT, "siblings": [{"rfilename": "config.json"}]}
    tree = [{"type": "file", "path": "config.json", "size": 2, "oid": "0" * 40}]
    hub.server.add(f"/api/models/user/tiny/tree/{COMMIT}", json.dumps(tree).encode())
    failure = hub.fail(Page(json.dumps(info).encode()))
    assert failure["error"] == "UnknownModelError"
    assert "must hold one model" in str(failure["message"])
