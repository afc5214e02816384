"""Single modules of installed distributions whose packages refuse to be imported everywhere."""

import importlib.metadata
import importlib.util
from types import ModuleType


def installed_module(distribution: str, file: str) -> ModuleType:
    """The module in `file`, as the distribution lists it, without its package."""
    files = importlib.metadata.files(distribution) or []
    path = next(one for one in files if one.as_posix() == file)
    spec = importlib.util.spec_from_file_location(f"{distribution}_{path.stem}", str(path.locate()))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
