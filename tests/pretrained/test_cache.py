from __future__ import annotations

import logging
import logging.handlers
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import torch

from hdemucs.errors import DownloadError
from hdemucs.pretrained import Card, download, is_downloaded
from hdemucs.pretrained.cache import hub_dir

from .conftest import BODY, SHA256, MakeCard, Start
from .server import Fault, FileServer

pytestmark = pytest.mark.usefixtures("impatient")


def fail(card: Card) -> str:
    """The message that downloading ends with: one line that names the address."""
    with pytest.raises(DownloadError) as caught:
        download(card, progress=False)
    message = str(caught.value)
    assert "\n" not in message
    assert card.files[0].url in message
    return message


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def partial(cache: Path) -> Path:
    return cache / ".a.th.part"


def test_files_arrive_in_order_and_only_once(server: FileServer, cache: Path, make_card: MakeCard):
    card = make_card("b.th", "a.th")
    assert not is_downloaded(card)
    paths = download(card, progress=False)
    assert paths == [cache / "b.th", cache / "a.th"]
    assert [path.read_bytes() for path in paths] == [BODY, BODY]
    assert is_downloaded(card)
    assert visible(cache) == ["a.th", "b.th"]

    assert download(card, progress=False) == paths
    assert len(server.log) == 2


def test_file_of_another_package_is_reused(server: FileServer, cache: Path, make_card: MakeCard):
    card = make_card("a.pt", sha256=SHA256[:8], size=None, folder="torchaudio/models")
    target = cache.parent / "torchaudio/models/a.pt"
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY)
    assert is_downloaded(card)
    assert download(card, progress=False) == [target]
    assert server.log == []


@pytest.mark.parametrize("content", [b"", BODY[:1000], BODY[:-1] + b"x"], ids=["empty", "short", "changed"])
def test_damaged_file_in_the_cache_is_replaced(cache: Path, make_card: MakeCard, content: bytes):
    cache.mkdir(parents=True)
    (cache / "a.th").write_bytes(content)
    assert download(make_card(), progress=False)[0].read_bytes() == BODY


def test_wrong_checksum_leaves_no_file(cache: Path, make_card: MakeCard):
    card = make_card(sha256="0" * 64)
    message = fail(card)
    assert "wrong checksum" in message
    assert SHA256[:16] in message
    assert not is_downloaded(card)
    assert not (cache / "a.th").exists()
    assert not partial(cache).exists()


def test_wrong_size_is_a_wrong_checksum(cache: Path, make_card: MakeCard):
    assert "wrong checksum" in fail(make_card(size=len(BODY) + 1))
    assert visible(cache) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusing_server(server: FileServer, cache: Path, make_card: MakeCard, status: int):
    server.faults = [Fault(status=status)] * 10
    message = fail(make_card())
    assert f"status {status}" in message
    assert f"put the file at {cache / 'a.th'} by hand" in message
    assert "hdemucs models download tiny" in message
    assert visible(cache) == []


def test_connection_refused(server: FileServer, cache: Path, make_card: MakeCard):
    card = make_card()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = card.files[0].url.replace(str(server.server_port), str(port))
    object.__setattr__(card.files[0], "url", url)
    assert "the connection failed" in fail(card)
    assert visible(cache) == []


def interrupt(server: FileServer, cache: Path, card: Card) -> int:
    """Let a download break off in the middle for good; the length of what remains."""
    server.faults = [Fault(cut_after=20_000), Fault(status=503)]
    # Releases of the hub differ in whether they try again within the call.
    message = fail(card)
    assert "the connection failed" in message or "status 503" in message
    server.faults.clear()
    assert visible(cache) == []
    kept = partial(cache).stat().st_size
    assert 0 < kept <= 20_000
    server.log.clear()
    return kept


def test_interrupted_download_is_resumed_by_the_next_call(
    server: FileServer, cache: Path, make_card: MakeCard
):
    card = make_card()
    kept = interrupt(server, cache, card)
    assert download(card, progress=False)[0].read_bytes() == BODY
    assert [request.range for request in server.gets()] == [f"bytes={kept}-"]
    assert visible(cache) == ["a.th"]
    assert not partial(cache).exists()


def test_server_without_ranges_starts_again(server: FileServer, cache: Path, make_card: MakeCard):
    card = make_card()
    interrupt(server, cache, card)
    server.ranges = False
    assert download(card, progress=False)[0].read_bytes() == BODY


@pytest.mark.parametrize("left", [b"x" * 100, BODY + b"x", b"x" * len(BODY)], ids=["other", "long", "full"])
def test_useless_remains_are_discarded(server: FileServer, cache: Path, make_card: MakeCard, left: bytes):
    card = make_card()
    cache.mkdir(parents=True)
    partial(cache).write_bytes(left)
    assert download(card, progress=False)[0].read_bytes() == BODY
    assert [request.range for request in server.gets()] == [f"bytes={len(left)}-", None]


def test_complete_remains_need_no_server(server: FileServer, cache: Path, make_card: MakeCard):
    cache.mkdir(parents=True)
    partial(cache).write_bytes(BODY)
    assert download(make_card(), progress=False)[0].read_bytes() == BODY
    assert server.log == []


def test_file_without_checksum_is_never_pieced_together(server: FileServer, cache: Path, make_card: MakeCard):
    card = make_card(sha256=None, size=None)
    cache.mkdir(parents=True)
    partial(cache).write_bytes(b"x" * 100)
    assert download(card, progress=False)[0].read_bytes() == BODY
    assert [request.range for request in server.gets()] == [None]
    (cache / "a.th").write_bytes(b"unverifiable, so taken as it is")
    assert download(card, progress=False)[0].read_bytes().startswith(b"unverifiable")


def test_file_without_checksum_that_is_cut_off_never_gets_its_name(
    server: FileServer, cache: Path, make_card: MakeCard
):
    interrupt(server, cache, make_card(sha256=None, size=None))
    assert not (cache / "a.th").exists()


def test_full_disk(cache: Path, make_card: MakeCard):
    cache.mkdir(parents=True)
    partial(cache).symlink_to("/dev/full")
    message = fail(make_card())
    assert f"the disk that holds {cache} is full" in message
    assert "TORCH_HOME" in message


def test_unwritable_cache(tmp_path: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    message = fail(make_card())
    assert "cannot be written to" in message
    assert "set TORCH_HOME" in message


def test_complete_cache_may_be_read_only(cache: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch):
    card = make_card()
    cache.mkdir(parents=True)
    (cache / "a.th").write_bytes(BODY)

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("hdemucs.pretrained.cache.FileLock", refuse)
    assert download(card, progress=False) == [cache / "a.th"]
    (cache / "a.th").unlink()
    assert "cannot be written to" in fail(card)


@pytest.mark.parametrize("progress", [True, False])
def test_progress_goes_to_stderr_when_wanted(
    cache: Path,
    make_card: MakeCard,
    progress: bool,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    # The hub's switch for bars outside of a terminal.
    monkeypatch.setenv("TQDM_POSITION", "-1")
    download(make_card(), progress=progress)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("a.th" in err) == progress


def test_failing_download_says_it_once(
    server: FileServer, cache: Path, make_card: MakeCard, capfd: pytest.CaptureFixture[str]
):
    logger, warnings = logging.getLogger("huggingface_hub"), logging.handlers.BufferingHandler(100)
    level = logger.level
    logger.addHandler(warnings)
    interrupt(server, cache, make_card())
    logger.removeHandler(warnings)
    assert warnings.buffer == []
    assert capfd.readouterr() == ("", "")
    assert logger.level == level


@pytest.mark.parametrize(
    "variables", [{}, {"XDG_CACHE_HOME": "/caches"}, {"TORCH_HOME": "~/models"}], ids=["none", "xdg", "torch"]
)
def test_folder_is_that_of_torch_hub(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.hub._hub_dir", None)
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    expected = Path(torch.hub.get_dir())
    assert hub_dir() == expected
    monkeypatch.delitem(sys.modules, "torch.hub")
    assert hub_dir() == expected


def test_folder_chosen_in_the_program_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    assert hub_dir() == tmp_path


# Downloads in another process: the address, and as much of the card as matters.
DOWNLOAD = f"""
import sys, huggingface_hub.constants
from hdemucs.pretrained import Card, ModelFile, download
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1024
file = ModelFile(sys.argv[1], "{SHA256}", {len(BODY)})
texts = dict.fromkeys(("summary", "training_data", "licence", "paper", "homepage"), "")
print("ready", flush=True)
print(*download(Card(name="tiny", sources=("drums",), sample_rate=44100, files=(file,), **texts)))
"""


def test_offline(server: FileServer, cache: Path, make_card: MakeCard, start: Start):
    url = make_card().files[0].url
    _, err = start(DOWNLOAD, url, HF_HUB_OFFLINE="1").communicate(timeout=30)
    message = err.splitlines()[-1]
    assert message.startswith(f"hdemucs.errors.DownloadError: Cannot download {url}")
    assert "HF_HUB_OFFLINE is set" in message
    assert str(cache / "a.th") in message

    (cache / "a.th").write_bytes(BODY)
    out, _ = start(DOWNLOAD, url, HF_HUB_OFFLINE="1").communicate(timeout=30)
    assert out.split() == ["ready", str(cache / "a.th")]
    assert server.log == []


def test_two_processes_at_once(server: FileServer, cache: Path, make_card: MakeCard, start: Start):
    url = make_card().files[0].url
    server.pause = 0.05
    processes = [start(DOWNLOAD, url) for _ in range(2)]
    results = [process.communicate(timeout=30) for process in processes]
    assert [out.split() for out, _ in results] == [["ready", str(cache / "a.th")]] * 2
    assert (cache / "a.th").read_bytes() == BODY
    assert len(server.gets()) == 1


def test_ctrl_c_keeps_what_has_arrived(server: FileServer, cache: Path, make_card: MakeCard, start: Start):
    card = make_card()
    server.faults = [Fault(hang_after=20_000)]
    process = start(DOWNLOAD, card.files[0].url)
    assert server.hanging.wait(timeout=30)
    deadline = time.monotonic() + 10
    while not (partial(cache).exists() and partial(cache).stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    assert visible(cache) == []
    kept = partial(cache).stat().st_size
    assert 0 < kept <= 20_000

    assert download(card, progress=False)[0].read_bytes() == BODY
    assert server.gets()[-1].range == f"bytes={kept}-"
