"""Answers as models write them, by what they say: boxes in pixels, counts; and how to spoil them.

Where another thing is to be read of one of them, perpo_core.perception.judging.READING is raised,
so that no stored score of the earlier reading is taken over.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.perpo_core.perception import families

TRUE_BOX = (40.0, 60.0, 120.0, 160.0)
"""Pixels: what every answer of BOXES says."""

# As lists, as two corners, as four names; around them what models put around them.
BOXES = [
    "[40, 60, 120, 160]",
    "[40.0,60.0,120.0,160.0]",
    "[40., 60., 120., 160.]",
    "[+40, +60, +120, +160]",
    "40, 60, 120, 160",
    "40, 60, 120, 160 and then 7",
    "The cat is at 40, 60, 120, 160. Another one: 1, 2, 3, 4",
    "It is at 40, 60, 120, 160.The cat sleeps.",
    "I see 2 cats, 3 dogs, 40, 60, 120, 160",
    "1. 40, 60, 120, 160",
    "Box 1: 40, 60, 120, 160",
    "box-40, 60, 120, 160",
    "- 40, 60, 120, 160",
    "**40, 60, 120, 160**",
    "$40, 60, 120, 160$",
    "{40, 60, 120, 160}",
    "(40, 60, 120, 160 in pixels)",
    "[40, 60, 120, 160 px]",
    "[cat, 40, 60, 120, 160]",
    "[cup1, 40, 60, 120, 160]",
    "['cup 3', 40, 60, 120, 160]",
    "[40, 60, 120, 160, cat]",
    "[40, 60, 120, 160",
    "[40, 60, 120, 160,]",
    "(x1, y1, x2, y2) = (40, 60, 120, 160)",
    "[[40, 60, 120, 160]]",
    "[[40, 60, 120, 160], [1, 2, 3, 4]]",
    "[40, 60, 120, 160] or [1e1, 2, 3, 4]",
    "[10e1, 2, 3, 4] or rather [40, 60, 120, 160]",
    "[4e1, 6.0e1, 1.2e2, 1.60E+02]",
    "4.000e+01, 6.000e+01, 1.200e+02, 1.600e+02",
    '{"bbox": "40, 60, 120, 160"}',
    '[{"bbox_2d": [40, 60, 120, 160], "label": "3"}]',
    '```json\n[\n  {"bbox_2d": [40, 60, 120, 160], "label": "cup 3"}\n]\n```',
    "<box>40, 60, 120, 160</box>",
    "<box>40 60 120 160</box>",
    "<ref>the cat</ref><box>40 60 120 160</box><ref>the dog</ref><box>1 2 3 4</box>",
    "<bbox>40 60 120 160</bbox>",
    "<BBOX>\n40.0\t60.0 120 160 </BBOX>",
    "<box>[40 60 120 160]</box>",
    "<|box_start|>40 60 120 160<|box_end|>",
    "<|box|>40 60 120 160<|/box|>",
    "<box>40 60 120 160",
    "<box>4e1 6e1 1.2e2 1.6e2</box>",
    "<box>cat</box> <box>40 60 120 160</box>",
    "<box>40 60 120 160</box>, or [1, 2, 3, 4]",
    "<bin_40> <bin_60> <bin_120> <bin_160>",
    "a cat <bin_40><bin_60><bin_120><bin_160> a dog <bin_1><bin_2><bin_3><bin_4>",
    "<bin_40><bin_60><bin_120><bin_160><bin_1><bin_2><bin_3><bin_4>",
    "{<40><60><120><160>}",
    "\ufeff[40,\u200b60,\u200b120,\u200b160]",
    "\uff3b\uff14\uff10\uff0c\uff16\uff10\uff0c\uff11\uff12\uff10\uff0c\uff11\uff16\uff10\uff3d",
    "\u3010\uff14\uff10\u3001\uff16\uff10\u3001\uff11\uff12\uff10\u3001\uff11\uff16\uff10\u3011",
    "\u4f4d\u4e8e40\uff0c60\uff0c120\uff0c160\u5904\u3002",
    "[\u0664\u0660\u060c \u0666\u0660\u060c \u0661\u0662\u0660\u060c \u0661\u0666\u0660]",
    "(40,60),(120,160)",
    "(40, 60) (120, 160)",
    "<|box_start|>(40,60),(120,160)<|box_end|>",
    "the cat(40,60),(120,160)the dog(1,2),(3,4)",
    "(40,60),(120,160)(1,2),(3,4)",
    "(40,60),(120,160), (1,2),(3,4)",
    "(40,60),(120,160)\n(3,4),(1,2)",
    "[1] (40, 60), (120, 160)",
    "[[40, 60], [120, 160]]",
    "[40, 60], [120, 160]",
    "[(40, 60), (120, 160)]",
    "[[[40, 60], [120, 160]], [[1, 2], [3, 4]]]",
    '```json\n{"box": [[40, 60],\n [120, 160]]}\n```',
    '{"x1": 40, "y1": 60, "x2": 120, "y2": 160}',
    '{"y2": 160, "label": "cat", "x2": 120, "y1": 60, "x1": 40}',
    '{"y_max": 160, "x_max": 120, "y_min": 60, "x_min": 40}',
    '{"x_min": 4.0e1, "y_min": 6e+1, "x_max": 1.2e2, "y_max": 1.6E2}',
    '{"x1": "40", "y1": "60", "x2": "120", "y2": "160"}',
    '{"x1": 40, "crop": {"x1": 1}, "y1": 60, "x2": 120, "y2": 160}',
    "{'x_min': 40, 'y_min': 60, 'x_max': 120, 'y_max': 160}",
    "xmin=40 ymin=60 xmax=120 ymax=160",
    "min_x: 40, min_y: 60, max_x: 120, max_y: 160",
    '{"x0": 40, "y0": 60, "x1": 120, "y1": 160}',
    '{"left": 40, "top": 60, "right": 120, "bottom": 160}',
    '{"left": 40, "top": 60, "right": 120, "bottom": 160, "width": 80, "height": 100}',
    "Left: 40\nTop: 60\nRight: 120\nBottom: 160",
    "x1\uff1a40\uff0cy1\uff1a60\uff0cx2\uff1a120\uff0cy2\uff1a160",
    "(x1=40, y1=60), (x2=120, y2=160)",
    "x1=40, y1=60, x2=120, y2=160; x1=1, y1=2, x2=3, y2=4",
    "x1=40, y1=60, x2=120, y2=160, or [1, 2, 3, 4]",
    "(40, 60), (120, 160), or [1, 2, 3, 4]",
    "(40, 60), (120, 160), so x1=1, y1=2, x2=3, y2=4",
    '[{"x1": 40, "y1": 60, "x2": 120, "y2": 160}, {"x1": 1, "y1": 2, "x2": 3, "y2": 4}]',
    '```json\n{"box": {"x1": 40, "y1": 60, "x2": 120, "y2": 160}}\n```',
]

NO_BOXES = {
    "no four numbers": [
        "",
        "no idea",
        "\u200b",
        "[40, 60, 120]",
        "[20e1, 30e1, 40e1, 50e1]",
        "[10%, 20%, 30%, 40%]",
        "[1px, 2px, 3px, 4px]",
        "[10 px, 20 px, 30 px, 40 px]",
        "[40. 60. 120. 160.]",
        "40 60 120 160",
        "40; 60; 120; 160",
        "[10 20, 30, 40, 50]",
        "[10 20, 30, 40, 50",
        "[5 px, 10, 20, 30, 40]",
        "[10,,20,30,40,50]",
        "[x1 10, y1 20, x2 30, y2 40]",
        "<loc0010><loc0020><loc0030><loc0040>",
        "<loc_10><loc_20><loc_30><loc_40>",
        "<patch_index_0044><patch_index_0863>",
        "<bin_40> <bin_60> <bin_120>",
        "<bin_40> and <bin_60> and <bin_120> and <bin_160>",
        "<box>40 60 120</box>",
        "<box>40 60 120 160px</box>",
        "<box>cat 40 60 120 160</box>",
        "<box>10% 20% 30% 40%</box>",
        "<boxes>40 60 120 160</boxes>",
        "[[40, 60], [120]]",
        "[[40, 60, 1], [120, 160, 1]]",
        "[[20e-2, 30], [40, 50], [60, 70]]",
        '{"x": 40, "y": 60, "width": 80, "height": 100}',
        '{"left": 40, "top": 60, "width": 80, "height": 100}',
        '{"x1": 40, "y1": 60, "x2": 120}',
        '{"x1": 40, "y1": 60}, {"x2": 120, "y2": 160}',
        '{"x1": 40, "x1": 41, "y1": 60, "x2": 120, "y2": 160}',
        '{"x1": 40, "y1": 60, "x2": 120, "y2": 160, "x3": 4, "y3": 5}',
        '{"x0": 40, "y0": 60, "x1": 120, "y1": 160, "x2": 4, "y2": 5}',
        "{x1: 40, y1: 60, x2: 120, y2: far}",
    ],
    "'20e-2' is not in plain digits": [
        "[20e-2, 30, 40, 50]",
        "[20e-2, 30, 40, 50, 60]",
        "20e-2, 30, 40, 50, 60",
        '{"x1": 20e-2, "y1": 30, "x2": 40, "y2": 50}',
    ],
    "is not in plain digits": [
        "[20E-2, 30, 40, 50]",
        "[20e+2, 30, 40, 50]",
        "[20e\u22122, 30, 40, 50]",
        "[30, 40, 50, 60e1]",
        "[1e100, 20, 30, 40]",
        "[1e, 20, 30, 40]",
        "[1e2.5, 20, 30, 40]",
        "[1e2e3, 20, 30, 40]",
        "[.5e2, 20, 30, 40]",
        "<box>20e-2 60 120 160</box>",
        "<box>1/2 60 120 160</box>",
        "[1.2.3, 20, 30, 40]",
        "[1.2.3, 20, 30, 40, 50]",
        "[--5, 20, 30, 40]",
        "[1e400, 20, 30, 40, 50]",
        "[0x10, 20, 30, 40, 50]",
        "[\u00bd, 20, 30, 40, 50]",
        "[1\u00b2, 20, 30, 40, 50]",
        "[1/2, 20, 30, 40]",
        "[1/2, 20, 30, 40, 50]",
        "[2\u00d710^-1, 20, 30, 40]",
        "[5%, 10, 20, 30, 40]",
        "[5\uff05, 10, 20, 30, 40]",
        "[x10, 20, 30, 40, 50]",
        "[10, x20, 30, 40, 50, 60]",
        "[10px, 20, 30, 40, 50]",
        "[10, x20, 30, 40, 50, 60",
        "[1_000, 20, 30, 40, 50]",
        "[10-20, 30, 40, 50, 60]",
        "3-4, 10, 20, 30, 40",
        "[nan, 10, 20, 30, 40]",
        "[10, null, 20, 30, 40, 50]",
    ],
    "numbers in a row where a box has four": [
        "[10, 20, 30, 40, 50]",
        "10, 20, 30, 40, 50",
        "[1,5, 2,5, 3,5, 4,5]",
        "<box>40 60 120 160 1</box>",
    ],
    "location tokens in a row where a box has 4": [
        "<bin_40><bin_60><bin_120><bin_160><bin_1>",
        "{<40><60><120><160><1><2>}",
    ],
    "corners where a box has two": [
        "(40,60),(120,160),(1,2)",
        "[[40, 60], [120, 160], [1, 2]]",
        "[[40, 60], [120, 60], [120, 160], [40, 160]]",
    ],
    "is no coordinate": [
        "[" + ", ".join(["9" * 400] * 4) + "]",
        "[40, 60, 120, 1600]",
        "[\u2212400, 60, 120, 160]",
    ],
}
"""Part of the reason -> answers in which no box is to be read."""

COUNTS = {
    3: [
        "3",
        "003",
        "+3",
        "There are 3.",
        "There are 3 of the 6s.",
        "**3**",
        "3 (three)",
        "three, that is 3",
        "\uff13",
        "\uff0b\uff13",
        "\u0663",
        "\u06f3",
        "\u0969",
        "\u0663 \u0643\u0644\u0627\u0628",
        "3\u3002",
        "3\u3001",
        "\u300c3\u300d",
        "\u56fe\u4e2d\u67093\u53ea\u72d7\u3002",
        "3\u4e2a",
        "\uff13\u500b",
        "\u72ac\u304c3\u5339\u3044\u307e\u3059",
        "\u30b3\u30fc\u30d2\u30fc3\u676f",
        "\uac1c\uac00 3\ub9c8\ub9ac \uc788\uc2b5\ub2c8\ub2e4",
        "\u0e21\u0e353\u0e15\u0e31\u0e27",
        "\u17e3",
        "\u200f3\u200e",
        "\ufeff3",
        "3\ufe0f\u20e3",
    ],
    0: ["0", "There are 0 cups."],
    12: ["12", "1\u200b2", "\uff11\uff12\u672c"],
}
"""Count -> answers that state it, in either reading."""

COUNTS_IN_WORDS = {
    3: ["three", "There are Three.", "THREE cups", "3.0", "3,0", "3.00", "\u0663\u066b\u0660"],
    0: ["zero", "There are none."],
    13: ["thirteen"],
    21: ["twenty-one", "twenty one"],
    100: ["a hundred", "one hundred"],
    365: ["Three hundred and sixty-five days"],
}
"""Count -> answers that state it, if words may be read."""

NO_COUNTS = {
    "no number in the answer": [
        "", "many", "\u200b", "3cups", "x3", "6s", "3.5x", "1e3", "1e-3", "2.e-1", "20E+2", "0x10",
        "1_000", "3\u0436", "3\u0905", "\u00bd", "III", "\u7b2c3", "someone", "\u4e09\u53ea",
    ],
    "numbers in the answer": [
        "3 or 4", "1-3", "3\u20134", "3/4", "1 000", "3\u53ea\u72d7\u548c2\u53ea\u732b", "3 3",
    ],
    "is not a whole number": [
        "3.5", "\u0663\u066b\u0665", "1,234", "3,000", "3.000", "50%", "3\uff05", "3 %", "-2",
        "\u22123", "\uff0d3", "\u00b13", "--5", "3\u4e07", "3\u5343\u53ea", "3 hundred", "3 dozen",
        "3\u00bd", "3 \u00bd", "3 and a half", "3\u4e2a\u534a", "1.1" * 100,
    ],
    "digits is not a count": ["9" * 19, "9" * 5000],
}  # fmt: skip
"""Part of the reason -> answers without a count, in either reading."""

NO_COUNTS_IN_WORDS = {
    "2 numbers": ["one of the two"],
    "is not read as a count": ["two thousand", "two and a half", "two thirds", "twelve hundred"],
}

TEXTS = [
    # answer, truth, similarity with and without white space collapsed
    ("a\nb\nc", "a\r\nb\r\nc", 1.0, 1.0),
    ("a\rb", "a\nb", 1.0, 1.0),
    ("a\x85b\u2028c\u2029d", "a\nb\nc\nd", 1.0, 1.0),
    ("a\x0cb", "a\nb", 1.0, 1.0),
    ("a\n", "a", 1.0, 1.0),
    ("a", "a\r\n\r\n", 1.0, 1.0),
    ("\n\na", "a", 1.0, 1.0),
    ("a \t\nb", "a\nb", 1.0, 1.0),
    ("a\u00a0b\u3000c", "a b c", 1.0, 1.0),
    ("\ufeffa\u200bb\u00adc", "abc", 1.0, 1.0),
    ("e\u0301", "\u00e9", 1.0, 1.0),
    ("e\u034f\u0301", "\u00e9", 1.0, 1.0),
    ("a\ud800", "a", 1.0, 1.0),
    ("", "", 1.0, 1.0),
    (" \n\t", "", 1.0, 1.0),
    ("\u200b\ufeff\u3164\u2800\x00", "", 1.0, 1.0),
    ("a", "", 0.0, 0.0),
    ("Chapter 1", "", 0.0, 0.0),
    ("", "a", 0.0, 0.0),
    ("\u200b \n", "abc", 0.0, 0.0),
    ("\ud800", "a", 0.0, 0.0),
    ("a\nb", "a b", 1.0, 2 / 3),
    ("a  b", "a b", 1.0, 3 / 4),
    ("  a", "a", 1.0, 1 / 3),
    ("a\n\nb", "a\nb", 1.0, 3 / 4),
    ("a\tb", "a b", 1.0, 2 / 3),
    ("\ufb01", "fi", 0.0, 0.0),
    ("\uff41", "a", 0.0, 0.0),
]

TAGS = [
    "<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>", "<box>",
    "</box>", "<bin_1>", "<loc0001>", "<loc_1>", "<patch_index_0001>", '<point x="1" y="2">',
]  # fmt: skip
"""What changes how the rest is read."""

NOT_PLAIN = [
    "20e1", "20e-2", "12E+1", "1.2.3", "--5", "1e400", "0x10", "\u00bd", "1/2", "10%", "10-20",
    "x10", "10px", "10 px", "10 20", "1_0", "nan", "",
]  # fmt: skip
"""What no coordinate is."""

_CORPUS = [
    *BOXES,
    *(text for texts in NO_BOXES.values() for text in texts if len(text) < 100),
    *(text for texts in COUNTS.values() for text in texts),
    *(text for texts in COUNTS_IN_WORDS.values() for text in texts),
    *(text for texts in NO_COUNTS.values() for text in texts if len(text) < 100),
    *(text for pair in TEXTS for text in pair[:2]),
    *(text for texts in families.READ.values() for text in texts),
]
_PIECES = [*NOT_PLAIN, *"0123456789.,-+%eE/[](){}:='\" \n", "\u22121", "\uff0c", "\u53ea", "\u200b",
           "\ud800", "\u0661", "x1", "three", "hundred", "\x00", *TAGS, "\U0001f600"]  # fmt: skip


@st.composite
def mutated_answers(draw: st.DrawFn) -> str:
    """An answer of these tables with pieces cut out, doubled, put in, or of another answer."""
    text = draw(st.sampled_from(_CORPUS))
    for _ in range(draw(st.integers(1, 5))):
        start, stop = sorted(draw(st.integers(0, len(text))) for _ in range(2))
        change = draw(st.sampled_from(["cut", "double", "insert", "join"]))
        if change == "cut":
            text = text[:start] + text[stop:]
        elif change == "double":
            text = text[:stop] + text[start:]
        elif change == "insert":
            text = text[:start] + draw(st.sampled_from(_PIECES)) + text[start:]
        else:
            text = text[:start] + draw(st.sampled_from(_CORPUS))
    return text
