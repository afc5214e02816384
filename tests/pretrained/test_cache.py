"""Downloads into the cache: complete, resumed, interrupted, refused."""

from __future__ import annotations

import json
import logging
import logging.handlers
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hdemucs.errors import DownloadError
from hdemucs.files import user_cache
from hdemucs.pretrained import Card, download, is_downloaded
from hdemucs.pretrained.cache import hub_dir

from .conftest import BODY, SHA256, MakeCard, Start
from .server import Fault, FileServer

pytestmark = pytest.mark.usefixtures("impatient")


def fail(card: Card) -> str:
    """Message of the error that downloading raises: one line with the URL."""
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


def test_files_arrive_in_order_and_only_once(server: FileServer, cache: Path, make_card: MakeCard) -> None:
    card = make_card("b.th", "a.th")
    assert not is_downloaded(card)
    paths = download(card, progress=False)
    assert paths == [cache / "b.th", cache / "a.th"]
    assert [path.read_bytes() for path in paths] == [BODY, BODY]
    assert is_downloaded(card)
    assert visible(cache) == ["a.th", "b.th"]

    assert download(card, progress=False) == paths
    assert len(server.log) == 2


def test_file_of_another_package_is_reused(server: FileServer, cache: Path, make_card: MakeCard) -> None:
    card = make_card("a.pt", sha256=SHA256[:8], size=None, folder="torchaudio/models")
    target = cache.parent / "torchaudio/models/a.pt"
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY)
    assert is_downloaded(card)
    assert download(card, progress=False) == [target]
    assert server.log == []


@pytest.mark.parametrize("content", [b"", BODY[:1000], BODY[:-1] + b"x"], ids=["empty", "short", "changed"])
def test_damaged_file_in_the_cache_is_replaced(cache: Path, make_card: MakeCard, content: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / "a.th").write_bytes(content)
    assert download(make_card(), progress=False)[0].read_bytes() == BODY


def test_wrong_checksum_leaves_no_file(cache: Path, make_card: MakeCard) -> None:
    card = make_card(sha256="0" * 64)
    message = fail(card)
    assert "wrong checksum" in message
    assert SHA256[:16] in message
    assert not is_downloaded(card)
    assert not (cache / "a.th").exists()
    assert not partial(cache).exists()


def test_wrong_size_is_a_wrong_checksum(cache: Path, make_card: MakeCard) -> None:
    assert "wrong checksum" in fail(make_card(size=len(BODY) + 1))
    assert visible(cache) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusing_server(server: FileServer, cache: Path, make_card: MakeCard, status: int) -> None:
    server.faults = [Fault(status=status)] * 10
    message = fail(make_card())
    assert f"status {status}" in message
    assert f"save the file as {cache / 'a.th'}" in message
    assert "hdemucs models download tiny" in message
    assert visible(cache) == []


def test_connection_refused(server: FileServer, cache: Path, make_card: MakeCard) -> None:
    card = make_card()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (file,) = card.files
    refusing = replace(file, url=file.url.replace(str(server.server_port), str(port)))
    assert "the connection failed" in fail(replace(card, files=(refusing,)))
    assert visible(cache) == []


def interrupt(server: FileServer, cache: Path, card: Card) -> int:
    """Let a download break off in the middle; the number of bytes that are kept."""
    server.faults = [Fault(cut_after=20_000), Fault(status=503)]
    # Releases of huggingface_hub differ in whether they try again within a call.
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
) -> None:
    card = make_card()
    kept = interrupt(server, cache, card)
    assert download(card, progress=False)[0].read_bytes() == BODY
    assert [request.range for request in server.gets()] == [f"bytes={kept}-"]
    assert visible(cache) == ["a.th"]
    assert not partial(cache).exists()


def test_server_without_ranges_starts_again(server: FileServer, cache: Path, make_card: MakeCard) -> None:
    card = make_card()
    interrupt(server, cache, card)
    server.ranges = False
    assert download(card, progress=False)[0].read_bytes() == BODY


@pytest.mark.parametrize("left", [b"x" * 100, BODY + b"x", b"x" * len(BODY)], ids=["other", "long", "full"])
def test_a_useless_partial_file_is_discarded(
    server: FileServer, cache: Path, make_card: MakeCard, left: bytes
) -> None:
    card = make_card()
    cache.mkdir(parents=True)
    partial(cache).write_bytes(left)
    assert download(card, progress=False)[0].read_bytes() == BODY
    assert [request.range for request in server.gets()] == [f"bytes={len(left)}-", None]


def test_a_complete_partial_file_needs_no_server(
    server: FileServer, cache: Path, make_card: MakeCard
) -> None:
    cache.mkdir(parents=True)
    partial(cache).write_bytes(BODY)
    assert download(make_card(), progress=False)[0].read_bytes() == BODY
    assert server.log == []


def test_file_without_checksum_is_never_pieced_together(
    server: FileServer, cache: Path, make_card: MakeCard
) -> None:
    card = make_card(sha256=None, size=None)
    cache.mkdir(parents=True)
    partial(cache).write_bytes(b"x" * 100)
    assert download(card, progress=False)[0].read_bytes() == BODY
    assert [request.range for request in server.gets()] == [None]
    (cache / "a.th").write_bytes(b"unverifiable, so taken as it is")
    assert download(card, progress=False)[0].read_bytes().startswith(b"unverifiable")


def test_file_without_checksum_that_is_cut_off_never_gets_its_name(
    server: FileServer, cache: Path, make_card: MakeCard
) -> None:
    interrupt(server, cache, make_card(sha256=None, size=None))
    assert not (cache / "a.th").exists()


def test_full_disk(cache: Path, make_card: MakeCard) -> None:
    cache.mkdir(parents=True)
    partial(cache).symlink_to("/dev/full")
    message = fail(make_card())
    assert f"the disk that holds {cache} is full" in message
    assert "TORCH_HOME" in message


def test_unwritable_cache(tmp_path: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    message = fail(make_card())
    assert "is not writable" in message
    assert "set TORCH_HOME" in message


def test_complete_cache_may_be_read_only(
    cache: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = make_card()
    cache.mkdir(parents=True)
    (cache / "a.th").write_bytes(BODY)

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("filelock.FileLock", refuse)
    assert download(card, progress=False) == [cache / "a.th"]
    (cache / "a.th").unlink()
    assert "is not writable" in fail(card)


@pytest.mark.parametrize("progress", [True, False])
def test_progress_goes_to_stderr_when_wanted(
    cache: Path,
    make_card: MakeCard,
    progress: bool,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Makes huggingface_hub show progress bars without a terminal.
    monkeypatch.setenv("TQDM_POSITION", "-1")
    download(make_card(), progress=progress)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("a.th" in err) == progress


def test_failing_download_says_it_once(
    server: FileServer, cache: Path, make_card: MakeCard, capfd: pytest.CaptureFixture[str]
) -> None:
    logger, warnings = logging.getLogger("huggingface_hub"), logging.handlers.BufferingHandler(100)
    level = logger.level
    logger.addHandler(warnings)
    interrupt(server, cache, make_card())
    logger.removeHandler(warnings)
    assert warnings.buffer == []
    assert capfd.readouterr() == ("", "")
    assert logger.level == level


ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"XDG_CACHE_HOME": "/caches"},
    {"TORCH_HOME": "~/models"},
    {"TORCH_HOME": "/models", "XDG_CACHE_HOME": "/caches"},
]
EMPTY = [{"XDG_CACHE_HOME": ""}, {"TORCH_HOME": ""}, {"XDG_CACHE_HOME": "/caches", "TORCH_HOME": ""}]


def set_environment(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub._hub_dir", None)
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("variables", ENVIRONMENTS, ids=str)
def test_folder_is_that_of_torch_hub(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(variables, monkeypatch)
    assert hub_dir() == Path(torch.hub.get_dir())


@pytest.mark.parametrize("variables", EMPTY, ids=str)
def test_an_empty_variable_counts_as_unset(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(variables, monkeypatch)
    assert hub_dir() == user_cache() / "torch" / "hub"


def test_the_folder_is_the_same_without_torch(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    expected = []
    for variables in [*ENVIRONMENTS, *EMPTY]:
        set_environment(variables, monkeypatch)
        expected.append(str(hub_dir()))
    code = """
import json, os, sys
from hdemucs.pretrained.cache import hub_dir
for variables in json.loads(sys.argv[1]):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    print(hub_dir())
print("torch" in sys.modules)
"""
    out, err = start(code, json.dumps([*ENVIRONMENTS, *EMPTY])).communicate(timeout=60)
    assert out.splitlines() == [*expected, "False"], err


def test_folder_chosen_in_the_program_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    assert hub_dir() == tmp_path


# Downloads in another process; its argument is the URL.
DOWNLOAD = f"""
import sys, huggingface_hub.constants
from hdemucs.pretrained import Card, ModelFile, download
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1024
file = ModelFile(sys.argv[1], "{SHA256}", {len(BODY)})
texts = dict.fromkeys(("summary", "training_data", "licence", "paper", "homepage"), "")
print("ready", flush=True)
print(*download(Card(name="tiny", sources=("drums",), sample_rate=44100, files=(file,), **texts)))
"""


def test_offline(server: FileServer, cache: Path, make_card: MakeCard, start: Start) -> None:
    url = make_card().files[0].url
    _, err = start(DOWNLOAD, url, HF_HUB_OFFLINE="1").communicate(timeout=30)
    message = err.splitlines()[-1]
    assert message.startswith(f"hdemucs.errors.DownloadError: cannot download {url}")
    assert "HF_HUB_OFFLINE is set" in message
    assert str(cache / "a.th") in message

    (cache / "a.th").write_bytes(BODY)
    out, _ = start(DOWNLOAD, url, HF_HUB_OFFLINE="1").communicate(timeout=30)
    assert out.split() == ["ready", str(cache / "a.th")]
    assert server.log == []


def test_two_processes_at_once(server: FileServer, cache: Path, make_card: MakeCard, start: Start) -> None:
    url = make_card().files[0].url
    server.pause = 0.05
    processes = [start(DOWNLOAD, url) for _ in range(2)]
    results = [process.communicate(timeout=30) for process in processes]
    assert [out.split() for out, _ in results] == [["ready", str(cache / "a.th")]] * 2
    assert (cache / "a.th").read_bytes() == BODY
    assert len(server.gets()) == 1


def test_ctrl_c_keeps_what_has_arrived(
    server: FileServer, cache: Path, make_card: MakeCard, start: Start
) -> None:
    card = make_card()
    # More than the 128 KiB that Python 3.14 keeps of a file before it writes them.
    server.faults = [Fault(hang_after=200_000)]
    process = start(DOWNLOAD, card.files[0].url)
    assert server.hanging.wait(timeout=30)
    while not (partial(cache).exists() and partial(cache).stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    assert visible(cache) == []
    kept = partial(cache).stat().st_size
    assert 0 < kept <= 200_000

    assert download(card, progress=False)[0].read_bytes() == BODY
    assert server.gets()[-1].range == f"bytes={kept}-"


def test_a_mirror_replaces_the_host(
    server: FileServer, cache: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = make_card()
    (file,) = card.files
    elsewhere = replace(card, files=(replace(file, url="https://dl.invalid/models/a.th"),))
    monkeypatch.setenv("HDEMUCS_MIRROR", f"{server.url}/")
    assert download(elsewhere, progress=False) == [cache / "a.th"]
    server.add("/below/models/a.th", BODY)
    (cache / "a.th").unlink()
    monkeypatch.setenv("HDEMUCS_MIRROR", f"{server.url}/below")
    assert download(elsewhere, progress=False)[0].read_bytes() == BODY
    assert [request.path for request in server.gets()] == ["/models/a.th", "/below/models/a.th"]


def test_a_mirror_that_does_not_have_the_file_or_is_no_address(
    server: FileServer, cache: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = make_card()
    for mirror, words in (
        (f"{server.url}/nothing", f"cannot download {server.url}/nothing/models/a.th"),
        ("mirror.example.org", "HDEMUCS_MIRROR must be an address"),
        ("ftp://mirror.example.org", "HDEMUCS_MIRROR must be an address"),
    ):
        monkeypatch.setenv("HDEMUCS_MIRROR", mirror)
        with pytest.raises(DownloadError, match=words) as caught:
            download(card, progress=False)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("HDEMUCS_MIRROR", "")
    assert download(card, progress=False)[0].read_bytes() == BODY


def test_a_mirrored_file_with_the_wrong_content_is_refused(
    server: FileServer, cache: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = make_card()
    server.add("/mirror/models/a.th", BODY[::-1])
    monkeypatch.setenv("HDEMUCS_MIRROR", f"{server.url}/mirror")
    with pytest.raises(DownloadError, match="wrong checksum"):
        download(card, progress=False)


def test_a_proxy_is_used(server: FileServer, cache: Path, make_card: MakeCard, start: Start) -> None:
    make_card()
    server.add("http://dl.invalid/models/a.th", BODY)
    proxy = {"HTTP_PROXY": server.url, "http_proxy": server.url, "NO_PROXY": "", "no_proxy": ""}
    out, err = start(DOWNLOAD, "http://dl.invalid/models/a.th", **proxy).communicate(timeout=30)
    assert out.split() == ["ready", str(cache / "a.th")], err
    assert [request.path for request in server.gets()] == ["http://dl.invalid/models/a.th"]


def test_a_folder_for_a_machine_without_a_network(
    server: FileServer, cache: Path, tmp_path: Path, make_card: MakeCard, start: Start
) -> None:
    card, stick = make_card("a.th", "b.th"), tmp_path / "stick"
    cache.mkdir(parents=True)
    (cache / "a.th").write_bytes(BODY)
    paths = download(card, home=stick, progress=False)
    assert paths == [stick / "hub/checkpoints/a.th", stick / "hub/checkpoints/b.th"]
    assert [request.path for request in server.gets()] == ["/models/b.th"]
    assert visible(cache) == ["a.th"]
    without = {"TORCH_HOME": str(stick), "HF_HUB_OFFLINE": "1"}
    out, err = start(DOWNLOAD, card.files[1].url, **without).communicate(timeout=30)
    assert out.split() == ["ready", str(paths[1])], err
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match="choose another folder"):
        download(card, home=tmp_path / "file", progress=False)
