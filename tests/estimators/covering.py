"""Covering designs: few cases in which every combination of a few settings occurs."""

from itertools import combinations, product

import numpy as np


def covering_cases(settings, strength, seed=0):
    """Choose cases so that any ``strength`` settings meet in all combinations of their values.

    Testing every case of a grid takes their product; faults, however, come from two or three
    settings that do not get on. The choice is greedy: each new case is the best of some random
    ones that contain a combination still missing.

    Parameters
    ----------
    settings : dict of str to list
        The values of each setting.
    strength : int
        2 for pairs, 3 for triples.

    Returns
    -------
    list of dict
        Each gives one value to each setting.
    """
    rng = np.random.RandomState(seed)
    names = list(settings)
    sizes = [len(settings[name]) for name in names]
    groups = list(combinations(range(len(names)), strength))
    missing = {
        (group, values)
        for group in groups
        for values in product(*(range(sizes[position]) for position in group))
    }
    cases = []
    while missing:
        group, values = min(missing)
        best, best_covered = None, ()
        for _ in range(20):
            candidate = [rng.randint(size) for size in sizes]
            for position, value in zip(group, values, strict=True):
                candidate[position] = value
            covered = {(g, tuple(candidate[position] for position in g)) for g in groups} & missing
            if len(covered) > len(best_covered):
                best, best_covered = candidate, covered
        missing -= best_covered
        cases.append({name: settings[name][value] for name, value in zip(names, best, strict=True)})
    return cases
