"""A choice between objectives that pull apart, learned from comparisons (`perpo tune`).

The method is interactive hyper-parameter optimisation by preference learning (arXiv 2309.03581):
settings are tried, what came of them is shown in pairs, a linear utility is learned from the
answers by a ranking support vector machine, and chooses what is tried next.

What is the paper's: fronts compared in pairs, RankSVM, its utility as the goal of a Bayesian
optimiser, simulated users by hypervolume, spacing, maximum spread and R2. What is ours: single
settings may be compared instead; the features (utility.py), the choice of pairs (questions.py); the
user is asked again between the trials; optuna's Gaussian process stands for the paper's SMAC.
"""
