"""Facts about MusDB18 and MusDB-HQ, the datasets that the field trains and reports on."""

STEM_STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""Audio streams of a MusDB18 `.stem.mp4` file, in order."""

MUSDB_VALIDATION = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)
"""Songs of `train/` reserved for validation, as in `mus.yaml` of the package musdb."""

MUSDB_HELP = "download MusDB-HQ from https://zenodo.org/records/3338373"
"""Remedy if there are no songs, for the end of an error message."""
