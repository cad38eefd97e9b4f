"""The Arrow schema of every Parquet file. Joins are by key, never by position.

prompt_id = sha256 over image bytes and prompt messages; sample_id = prompt_id and target. A
candidate is (prompt_id, index); score rows carry the candidate's hash besides, so that a reward
can never meet another answer.
"""

from __future__ import annotations

import json

import pyarrow as pa

CONTENT_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(CONTENT_PART))])
ACCEPTED_FIELDS = [
    ("box", pa.list_(pa.float64())),  # x1, y1, x2, y2, or a point x, y; 0-1 of the original image
    ("text", pa.string()),
    ("count", pa.int64()),
]
TARGET = pa.struct(
    [
        *ACCEPTED_FIELDS,
        ("boxes", pa.list_(pa.list_(pa.float64()))),  # each x1, y1, x2, y2; [] where none is
        ("others", pa.list_(pa.struct(ACCEPTED_FIELDS))),  # further truths; one of all counts
        ("image", pa.int32()),  # which image the boxes lie in, from 0; null: the first
    ]
)

SAMPLES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("prompt_id", pa.string()),
        ("task", pa.string()),
        ("split", pa.string()),
        (
            "image_id",
            pa.string(),
        ),  # sha256 of the upright pixels, whatever file holds them
        ("images", pa.list_(pa.string())),  # image_hash of each, in PACKS
        ("width", pa.int32()),  # of the first image, after EXIF orientation
        ("height", pa.int32()),
        ("prompt", pa.list_(MESSAGE)),
        ("target", TARGET),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("row", pa.string()),  # where it came from: file and row, for error messages
    ]
)

# Images, each once, whatever asks about it and however often.
PACKS = pa.schema(
    [
        ("image_hash", pa.string()),  # sha256 of bytes
        ("file_hash", pa.string()),  # sha256 of the file that it was read from
        ("image_id", pa.string()),  # as in SAMPLES
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("read_width", pa.int32()),  # of the file's image, after EXIF orientation
        ("read_height", pa.int32()),
        ("bytes", pa.binary()),  # encoded
    ]
)

CANDIDATES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("index", pa.int32()),
        ("policy_digest", pa.string()),  # who sampled it
        ("candidate_hash", pa.string()),  # sha256 over policy digest, prompt_id and token ids
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),  # as sampled, end token included
        ("token_logps", pa.list_(pa.float32())),  # raw log-softmax at T=1, nats
        ("logp", pa.float64()),  # sum of token_logps, nats
        ("finish_reason", pa.string()),  # stop | length
        ("seed", pa.int64()),
    ]
)

SCORES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("prompt_id", pa.string()),
        ("index", pa.int32()),
        ("candidate_hash", pa.string()),
        ("task", pa.string()),
        ("reward", pa.float64()),  # null when the answer could not be parsed and on_unparsed = drop
        ("rewards", pa.map_(pa.string(), pa.float64())),  # every part by name
        ("parsed", pa.string()),  # what the parser saw, as JSON; null when nothing
        ("error", pa.string()),  # why the answer could not be parsed; null when it could
    ]
)

RESPONSE = pa.struct(
    [
        ("index", pa.int32()),
        ("candidate_hash", pa.string()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("reward", pa.float64()),
        ("rank", pa.int32()),  # 0 is best; equal rewards share a rank
        ("logp", pa.float64()),  # under the policy that sampled it, nats
    ]
)

# One row a list.
PREFERENCES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("prompt_id", pa.string()),
        ("task", pa.string()),
        ("images", pa.list_(pa.string())),  # image_hash of each, in PACKS
        ("prompt", pa.list_(MESSAGE)),
        ("responses", pa.list_(RESPONSE)),  # by reward, best first
        ("reward_gap", pa.float64()),  # best minus worst
        ("target", TARGET),
    ]
)

# datasets' Image feature: encoded bytes as received, decoded lazily.
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

# Without this key datasets hands images back as {"bytes", "path"} and TRL gets no picture.
WITH_IMAGES = {
    "huggingface": json.dumps(
        {"info": {"features": {"images": {"feature": {"_type": "Image"}, "_type": "List"}}}}
    )
}

# Of every row that leaves the house.
EXPORTED_PROMPT = [
    ("sample_id", pa.string()),
    ("task", pa.string()),
    ("images", pa.list_(IMAGE)),
    ("prompt", pa.list_(MESSAGE)),
]

# A list as it leaves the house. prompt, chosen, rejected and images are TRL's names and types, so
# that datasets.load_dataset("parquet") gives what DPOTrainer takes.
EXPORTED_LISTS = pa.schema(
    [
        *EXPORTED_PROMPT,
        ("chosen", pa.list_(MESSAGE)),
        ("rejected", pa.list_(MESSAGE)),
        ("responses", pa.list_(RESPONSE)),
        ("reward_gap", pa.float64()),
        ("target", TARGET),
    ]
).with_metadata(WITH_IMAGES)

# One row a pair of answers, by TRL's names.
EXPORTED_PAIRS = pa.schema(
    [
        *EXPORTED_PROMPT,
        ("chosen", pa.list_(MESSAGE)),
        ("rejected", pa.list_(MESSAGE)),
        ("chosen_reward", pa.float64()),
        ("rejected_reward", pa.float64()),
    ]
).with_metadata(WITH_IMAGES)

# One row an answer, by TRL's names. KTOTrainer refuses images beside chosen and rejected.
EXPORTED_ANSWERS = pa.schema(
    [
        *EXPORTED_PROMPT,
        ("completion", pa.list_(MESSAGE)),
        ("label", pa.bool_()),
        ("reward", pa.float64()),
    ]
).with_metadata(WITH_IMAGES)

# One row a list, in the order of the part of the lists that it belongs to.
REFERENCES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("logps", pa.list_(pa.float32())),  # of the list's answers under the reference, nats
    ]
)

# The same of every token that is scored.
TOKEN_VALUES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("values", pa.list_(pa.list_(pa.float32()))),  # of the list's answers, their tokens; nats
    ]
)

VERSION = pa.struct(
    [
        ("degree", pa.int32()),  # 0 is the answer itself, degrees - 1 the worst
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),  # end token included
    ]
)

# One row a list, in the order of the part of the lists that it belongs to.
DEGRADED = pa.schema(
    [
        ("sample_id", pa.string()),
        # Of its best answer; without degree 0 where that is the sampled answer, token by token.
        ("versions", pa.list_(VERSION)),
        ("reason", pa.string()),  # why there are none; null where there are
    ]
)

DROPPED = pa.schema(
    [
        ("stage", pa.string()),
        ("id", pa.string()),  # sample_id, sample_id/index, or file:row where there is no id yet
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

# One row an answer and policy; greedy answers have index -1, sampled ones 0, 1, ...
PREDICTIONS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("image_id", pa.string()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("policy", pa.string()),  # base | trained
        ("index", pa.int32()),
        ("text", pa.string()),
        ("reward", pa.float64()),  # what counts: 0 or less where the answer could not be read
        ("measure", pa.float64()),  # what the task's metrics are computed from; null: could not be
        ("rewards", pa.map_(pa.string(), pa.float64())),  # every part of the reward by name
        ("error", pa.string()),
    ]
)

# One row a sample, way and policy: the greedy answer with another image.
PROBES = pa.schema(
    [
        ("sample_id", pa.string()),  # whose question and truth it is
        ("image_id", pa.string()),  # of the right image
        ("task", pa.string()),
        ("way", pa.string()),  # blank | shuffled | cropped
        ("policy", pa.string()),  # base | trained
        ("text", pa.string()),
        ("reward", pa.float64()),  # as in PREDICTIONS
        ("error", pa.string()),
    ]
)
