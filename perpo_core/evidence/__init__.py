"""Is the trained policy better, is the method the reason, and how sure is that?

    trials.py     methods, settings and seeds -> the runs that are needed
    choosing.py   a method's best setting, on the validation split
    answers.py    what a run's policies answered, as arrays

No Prefect here: flows/recipes/comparing.py runs the trials.
"""
