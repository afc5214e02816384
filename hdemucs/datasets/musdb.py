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

MUSDB_TEST = frozenset(
    {
        "AM Contra - Heart Peripheral",
        "Al James - Schoolboy Facination",
        "Angels In Amplifiers - I'm Alright",
        "Arise - Run Run Run",
        "BKS - Bulldozer",
        "BKS - Too Much",
        "Ben Carrigan - We'll Talk About It All Tonight",
        "Bobby Nobody - Stitch Up",
        "Buitraker - Revo X",
        "Carlos Gonzalez - A Place For Us",
        "Cristina Vane - So Easy",
        "Detsky Sad - Walkie Talkie",
        "Enda Reilly - Cur An Long Ag Seol",
        "Forkupines - Semantics",
        "Georgia Wonder - Siren",
        "Girls Under Glass - We Feel Alright",
        "Hollow Ground - Ill Fate",
        "James Elder & Mark M Thompson - The English Actor",
        "Juliet's Rescue - Heartbeats",
        "Little Chicago's Finest - My Own",
        "Louis Cressy Band - Good Time",
        "Lyndsey Ollard - Catching Up",
        "M.E.R.C. Music - Knockout",
        "Moosmusic - Big Dummy Shake",
        "Motor Tapes - Shore",
        "Mu - Too Bright",
        "Nerve 9 - Pray For The Rain",
        "PR - Happy Daze",
        "PR - Oh No",
        "Punkdisco - Oral Hygiene",
        "Raft Monk - Tiring",
        "Sambasevam Shanmugam - Kaathaadi",
        "Secretariat - Borderline",
        "Secretariat - Over The Top",
        "Side Effects Project - Sing With Me",
        "Signe Jakobsen - What Have You Done To Me",
        "Skelpolu - Resurrection",
        "Speak Softly - Broken Man",
        "Speak Softly - Like Horses",
        "The Doppler Shift - Atrophy",
        "The Easton Ellises - Falcon 69",
        "The Easton Ellises (Baumi) - SDRNR",
        "The Long Wait - Dark Horses",
        "The Mountaineering Club - Mallory",
        "The Sunshine Garcia Band - For I Am The Moon",
        "Timboz - Pony",
        "Tom McKenzie - Directions",
        "Triviul feat. The Fiend - Widow",
        "We Fell From The Sky - Not You",
        "Zeno - Signs",
    }
)
"""All songs of `test/`, on which published scores are measured."""

MUSDB_HELP = "download MusDB-HQ from https://zenodo.org/records/3338373"
"""Remedy if there are no songs, for the end of an error message."""
