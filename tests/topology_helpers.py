"""HTD's two topology losses by loops in NumPy."""

import numpy as np


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def brute_entity(s, t, group) -> float:
    """Over the ordered pairs of one group, pairs of an entity with itself included."""
    s, t = unit(s), unit(t)
    return np.sum([(s[a] @ s[b] - t[a] @ t[b]) ** 2
                    for a in range(len(s)) for b in range(len(s)) if group[a] == group[b]])


def brute_group(s, t, group, prototypes_of=None) -> float:
    """Over entities and the other groups that have members."""
    fixed = s if prototypes_of is None else prototypes_of
    terms = [(unit(s[a]) @ unit(fixed[group == g].mean(0)) - unit(t[a]) @ unit(t[group == g].mean(0))) ** 2
             for a in range(len(s)) for g in sorted(set(group)) if g != group[a]]
    return np.sum(terms)


def constant(t, group) -> float:
    """What entity_topology leaves out: the teacher's cosines, squared."""
    t = unit(t)
    return np.sum([(t[a] @ t[b]) ** 2 for a in range(len(t)) for b in range(len(t)) if group[a] == group[b]])
