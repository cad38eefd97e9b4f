"""One box, as each family of models writes it, and what is no box in that family's format.

Every answer of READ says BOX of an image of 400 x 200 that the model saw as 448 x 224.
"""

from __future__ import annotations

from perpo_core.perception.boxes import Frame

FRAME = Frame(400, 200, 448, 224)
BOX = (0.25, 0.25, 0.5, 0.75)

READ = {
    "norm1": [
        "[0.25, 0.25, 0.50, 0.75]",
        "[2.5e-01, 2.5e-1, 5e-01, 7.50E-01]",
        "<box>0.25 0.25 0.5 0.75</box>",
        "<bbox>.25 .25 .5 .75</bbox>",
        '{"x_min": 0.25, "y_min": 0.25, "x_max": 0.5, "y_max": 0.75}',
        '{"y_max": 0.75, "x_max": 0.5, "y_min": 0.25, "x_min": 0.25}',
        '{"objects": [{"x_max": 0.5, "x_min": 2.5e-01, "y_max": 0.75, "y_min": 0.25}]}',
        "<think>[0.1, 0.1, 0.2, 0.2]</think>[0.25, 0.25, 0.5, 0.75]",
        "(0.25, 0.25), (0.5, 0.75)",
    ],
    "norm1_padded": [
        "[0.25, 0.375, 0.50, 0.625]",
        "[0.250,0.375,0.500,0.625]",
        "<box>0.25 0.375 0.5 0.625</box>",
        "The region is [0.25, 0.375, 0.5, 0.625].",
        '{"xmin": 0.25, "ymin": 0.375, "xmax": 0.5, "ymax": 0.625}',
        "[[0.25, 0.375], [0.5, 0.625]]",
        "<answer>[0.25, 0.375, 0.5, 0.625]</answer>",
    ],
    "norm1_cxcywh": [
        "[0.375, 0.5, 0.25, 0.5]",
        "0.375, 0.500, 0.250, 0.500",
        "<box>0.375 0.5 0.25 0.5</box>",
        "[3.75e-01, 5e-01, 2.5e-01, 5e-01]",
        "(0.375, 0.5), (0.25, 0.5)",
        '{"bbox": [0.375, 0.5, 0.25, 0.5], "label": "cup 2"}',
        '{"x_min": 0.25, "y_min": 0.25, "x_max": 0.5, "y_max": 0.75}',
    ],
    "norm100": [
        "{<25><25><50><75>}",
        "<p>the cup</p> {<25><25><50><75>}",
        "<p>cup</p>{<25><25><50><75>}<p>dog</p>{<1><2><3><4>}",
        "[25, 25, 50, 75]",
        "<box>25 25 50 75</box>",
        "(25,25),(50,75)",
        "<think>{<1><2><3><4>}</think>{<25><25><50><75>}",
    ],
    "norm999": [
        "[[250, 250, 500, 749]]",
        "<|ref|>cup<|/ref|><|det|>[[250, 250, 500, 749]]<|/det|>",
        "cup[[250, 250, 500, 749], [1, 2, 3, 4]]",
        "<bin_250> <bin_250> <bin_500> <bin_749>",
        "the cup<bin_250><bin_250><bin_500><bin_749>",
        "<bbox>250 250 500 749</bbox>",
        "[250, 250, 500, 749]",
        '{"x_min": 250, "y_min": 250, "x_max": 500, "y_max": 749}',
    ],
    "norm999_padded": [
        "<box>[[250, 375, 500, 624]]</box>",
        "<ref>cup</ref><box>[[250, 375, 500, 624]]</box>",
        "[250, 375, 500, 624]",
        "<box>250 375 500 624</box>",
        "<bin_250> <bin_375> <bin_500> <bin_624>",
        "(250,375),(500,624)",
    ],
    "norm1000": [
        "[250, 250, 500, 750]",
        "<ref>cup</ref><box>(250,250),(500,750)</box>",
        "<|object_ref_start|>cup<|object_ref_end|><|box_start|>(250,250),(500,750)<|box_end|>",
        "cup(250,250),(500,750)",
        '```json\n[{"bbox_2d": [250, 250, 500, 750], "label": "cup"}]\n```',
        "<ref>cup</ref><box>[[250, 250, 500, 750]]</box>",
        "<box>250 250 500 750</box>",
        "<bbox>250 250 500 750</bbox>",
        "[2.5e2, 2.5e+02, 5e2, 7.5E2]",
        "<|begin_of_box|>[[250, 250, 500, 750]]<|end_of_box|>",
        "<think>[[1, 2, 3, 4]]</think>It is <|begin_of_box|>[250, 250, 500, 750]<|end_of_box|>.",
        "Perhaps [1, 2, 3, 4]? No.\n</think>\n\n[250, 250, 500, 750]",
        "\u25c1think\u25b7[1, 2, 3, 4]\u25c1/think\u25b7[250, 250, 500, 750]",
        "<think>[9, 9, 99, 99]</think><answer>[250, 250, 500, 750]</answer>",
    ],
    "norm1000_yxyx": [
        "[250, 250, 750, 500]",
        '{"box_2d": [250, 250, 750, 500]}',
        '```json\n[\n  {"box_2d": [250, 250, 750, 500], "label": "cup 1"}\n]\n```',
        '[{"box_2d": [250, 250, 750, 500]}, {"box_2d": [1, 2, 3, 4]}]',
        "<box>250 250 750 500</box>",
        "[[250, 250], [750, 500]]",
        '{"ymin": 250, "xmin": 250, "ymax": 750, "xmax": 500}',
        '{"x_min": 250, "y_min": 250, "x_max": 500, "y_max": 750}',
        "<think>[1, 2, 3, 4]</think>[250, 250, 750, 500]",
    ],
    "pixels": [
        "[100, 50, 200, 150]",
        "<box>100 50 200 150</box>",
        "[1e2, 5e1, 2e2, 1.5e2]",
        "[1.00e+02, 5.00e+01, 2.00e+02, 1.50e+02]",
        "x_min=100, y_min=50, x_max=200, y_max=150",
        '{"x_max": 200, "y_max": 150, "x_min": 100, "y_min": 50}',
        "<thinking>(1, 2), (3, 4)</thinking> (100, 50), (200, 150)",
    ],
    "pixels_resized": [
        "[112, 56, 224, 168]",
        '```json\n[\n\t{"bbox_2d": [112, 56, 224, 168], "label": "cup"}\n]\n```',
        "<|box_start|>(112,56),(224,168)<|box_end|>",
        "<box>112 56 224 168</box>",
        "[1.12e2, 5.6e1, 2.24e2, 1.68e2]",
        "<think>[1, 2, 3, 4]</think><answer>[112, 56, 224, 168]</answer>",
    ],
    "loc1024_yxyx": [
        "<loc0256><loc0256><loc0768><loc0512>",
        "<loc0256><loc0256><loc0768><loc0512> cup",
        "<loc0256><loc0256><loc0768><loc0512> cup ; <loc0001><loc0002><loc0003><loc0004> dog",
        "<loc0256> <loc0256> <loc0768> <loc0512>",
        "<loc0256><loc0256><loc0768><loc0512> <seg114><seg074><seg106> cup",
        "3 cups: <loc0256><loc0256><loc0768><loc0512>",
        "<loc0001> is no box, <loc0256><loc0256><loc0768><loc0512> is",
    ],
    "loc1000": [
        "<loc_250><loc_250><loc_500><loc_750>",
        "cup<loc_250><loc_250><loc_500><loc_750>",
        "cup<loc_250><loc_250><loc_500><loc_750>dog<loc_1><loc_2><loc_3><loc_4>",
        "cups<loc_250><loc_250><loc_500><loc_750><loc_1><loc_2><loc_3><loc_4>",
        "<od>cup<loc_250><loc_250><loc_500><loc_750></od>",
        "2 cups <loc_250> <loc_250> <loc_500> <loc_750>",
    ],
    "patch32": [
        "<object><patch_index_0264><patch_index_0751></object>",
        "<phrase>a cup</phrase><object><patch_index_0264><patch_index_0751></object>",
        "<patch_index_0264><patch_index_0751>",
        "<patch_index_0264> <patch_index_0751>",
        "<object><patch_index_0264><patch_index_0751></delimiter_of_multi_objects/>"
        "<patch_index_0001><patch_index_0099></object>",
        "<phrase>2 cups</phrase><object><patch_index_0264><patch_index_0751></object> and "
        "<phrase>a dog</phrase><object><patch_index_0001><patch_index_0099></object>",
    ],
    "points_percent": [
        '<points x1="25.0" y1="25.0" x2="50.0" y2="75.0" alt="cup">cup</points>',
        '<point x="25.0" y="25.0" alt="corner">corner</point> '
        '<point x="50.0" y="75.0" alt="corner">corner</point>',
        "<points x1='25' y1='25' x2='50' y2='75'>cup</points>",
        "<points x1=25 y1=25 x2=50 y2=75>",
        '<points alt="x1=3 y1=4" x1="25" y1="25" x2="50" y2="75"/>',
        '<points x1="25" y1="25" x2="50" y2="75" x3="51" y3="76" x4="60" y4="80" alt="2 cups">',
        '<points y2="75" x2="50" x1="25" y1="25">',
        '<think><point x="1" y="2"></think><points x1="25" y1="25" x2="50" y2="75">cup</points>',
    ],
}  # fmt: skip

NOT_READ = {
    "norm1": {
        "is no coordinate": ["[250, 250, 500, 750]", "<bin_0><bin_0><bin_500><bin_750>"],
        "no four numbers": [
            "0.25 0.25 0.5 0.75", "[25e-2, 0.25, 0.5, 0.75]",
            "<loc_250><loc_250><loc_500><loc_750>", "<answer></answer>[0.25, 0.25, 0.5, 0.75]",
        ],
        "never closed": ["<think>it is [0.25, 0.25, 0.5, 0.75]", "<think>"],
    },
    "norm1_padded": {
        "outside the image": ["[0.25, 0.0, 0.5, 0.2]"],
        "no coordinate": ["[25, 37, 50, 62]"],
        "never closed": ["<Think>[0.25, 0.375, 0.50, 0.625]"],
    },
    "norm1_cxcywh": {
        "must be greater": ["[0.375, 0.5, 0, 0.5]", "[0.375, 0.5, 0.25, -0.5]"],
        "no coordinate": ["[375, 500, 250, 500]", "[0.1, 0.1, 3, 3]"],
        "no four numbers": ["0.375 0.5 0.25 0.5", '{"cx": 0.375, "cy": 0.5, "w": 0.25, "h": 0.5}'],
    },
    "norm100": {
        "look like 0-1": ["[0.25, 0.25, 0.5, 0.75]"],
        "no coordinate": ["{<250><250><500><750>}"],
        "in a row": ["{<25><25><50><75><80>}"],
    },
    "norm999": {
        "look like 0-1": ["[[0.25, 0.25, 0.5, 0.75]]"],
        "no four numbers": ["<bin_250> <bin_250> <bin_500>", "250 250 500 749"],
        "1600 is no coordinate": ["[250, 250, 500, 1600]"],
        "never closed": ["<think><bin_250> <bin_250> <bin_500> <bin_749>"],
    },
    "norm999_padded": {
        "outside the image": ["[250, 0, 500, 249]"],
        "must be greater": ["[500, 375, 250, 624]"],
    },
    "norm1000": {
        "look like 0-1": ["[0.25, 0.25, 0.5, 0.75]", "[2.5e-01, 2.5e-01, 5e-01, 7.5e-01]"],
        "is not in plain digits": ["[20e-2, 30, 40, 50]", "<box>20e-2 30 40 50</box>"],
        "never closed": ["\u25c1think\u25b7[250, 250, 500, 750]", "[THINK][250, 250, 500, 750]"],
        "no four numbers": [
            "[250, 250, 500, 750]</think>", "<|begin_of_box|>cup<|end_of_box|>[250, 250, 500, 750]",
        ],
    },
    "norm1000_yxyx": {
        "must be greater": ["[750, 250, 250, 500]", "xmin: 9, ymin: 9, xmax: 5, ymax: 99"],
        "look like 0-1": ['{"box_2d": [0.25, 0.25, 0.75, 0.5]}'],
    },
    "pixels": {
        "no coordinate": ["[250, 250, 900, 750]"],
        "must be greater": ["[1e2, 5e1, 2e1, 1.5e2]"],
        "no four numbers": ["100 50 200 150"],
    },
    "pixels_resized": {
        "no coordinate": ["[112, 56, 224, 1680]"],
        "look like 0-1": ["[0, 0, 1, 1]"],
    },
    "loc1024_yxyx": {
        "no four location tokens": [
            "", "[256, 256, 768, 512]", "<loc_256><loc_256><loc_768><loc_512>",
            "<loc256><loc256><loc768><loc512>", "<loc0256><loc0256><loc0768>",
            "<loc0256>, <loc0256>, <loc0768>, <loc0512>",
        ],
        "5 location tokens in a row": ["<loc0256><loc0256><loc0768><loc0512><loc0001>"],
        "must be greater": ["<loc0768><loc0256><loc0256><loc0512>"],
        "is no coordinate": ["<loc0256><loc0256><loc0768><loc1600>"],
        "never closed": ["<think><loc0256><loc0256><loc0768><loc0512>"],
    },
    "loc1000": {
        "no four location tokens": ["cup", "<loc0250><loc0250><loc0500><loc0750>",
                                    "[250, 250, 500, 750]"],
        "6 location tokens in a row": ["<loc_250><loc_250><loc_500><loc_750><loc_1><loc_2>"],
        "must be greater": ["<loc_250><loc_250><loc_250><loc_750>"],
    },
    "patch32": {
        "no two location tokens": ["", "[250, 250, 500, 750]", "<patch_index_0264>",
                                   "<patch_index_0264> to <patch_index_0751>"],
        "3 location tokens in a row": ["<patch_index_0264><patch_index_0751><patch_index_0752>"],
        "must be greater": ["<patch_index_0751><patch_index_0264>",
                            "<patch_index_0264><patch_index_0200>"],
        "is no coordinate": ["<patch_index_0264><patch_index_9999>"],
    },
    "points_percent": {
        "no two points": ["", "[25, 25, 50, 75]", "25, 25", '<points coords="1 250 250 2 500 750">',
                          "<pointer x=25 y=25>"],
        "one point": ['<point x="25.0" y="25.0" alt="cup">cup</point>'],
        "3 points": ['<points x1="1" y1="1" x2="5" y2="5" x3="9" y3="9">'],
        "4 points": ['<points x1="25" y1="25" x2="50" y2="25" x3="50" y3="75" x4="25" y4="75">'],
        "lacks its x or its y": ['<points x1="25" y1="25" x2="50">', '<point x="25%" y="25"/>'],
        "look like 0-1": ['<points x1="0.25" y1="0.25" x2="0.5" y2="0.75">'],
        "no coordinate": ['<points x1="250" y1="250" x2="500" y2="750">'],
        "must be greater": ['<points x1="50" y1="25" x2="25" y2="75">'],
    },
}  # fmt: skip
"""Part of the reason -> answers in which no box of this format is to be read."""
