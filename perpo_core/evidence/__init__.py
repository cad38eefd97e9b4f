"""Evidence: is one method better than another, by how much, and how sure is that?

    trials.py       methods, settings and seeds -> the runs that are needed
    choosing.py     a method's best setting, on the validation split
    values.py       what runs answered -> a value a seed and prompt
    bootstrap.py    ... -> differences and their intervals; holm.py: of many of them
    drift/          a trained policy's KL from its start, and the truths' likelihood under both
    looking.py      image, ranking and drift of one trained policy
    judging.py      all of it -> the report, verdicts.py in words

No Prefect here: flows/recipes/comparing.py runs the trials. docs/compare.md is for users,
docs/evidence.md has every definition in words.
"""
