"""`hdemucs train` as a script, for torchrun and accelerate launch:

torchrun --nproc-per-node 4 scripts/train.py --config hdemucs_musdb data=/data/musdb18hq
"""

import sys

from hdemucs.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
