"""The configurations that ship with hdemucs; listing them needs no package of the extra `train`."""

from pathlib import Path

import hdemucs


def configs_folder() -> Path:
    """Folder of the named configurations: in the installed package, or beside it in the repository."""
    package = Path(hdemucs.__file__).parent
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def config_names() -> list[str]:
    """Names that `load_config` accepts."""
    return sorted(path.stem for path in configs_folder().glob("*.yaml"))
