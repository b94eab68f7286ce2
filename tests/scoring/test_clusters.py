"""Scaling, matching and hysteresis by hand-made cases."""

import numpy as np

from scoring.groups import clusters
from scoring.groups.names import names


def test_scale_gives_mid_ranks_and_bears_a_round_trip() -> None:
    values = np.array([[1.0], [5.0], [5.0], [1000.0]])
    scale = clusters.Scale.learn(values, [2.0])
    assert scale.ranked(values).ravel().tolist() == [0.125, 0.5, 0.5, 0.875]
    assert scale(np.array([[-9.0], [1e9]])).ravel().tolist() == [0.25, 1.75]
    again = clusters.Scale.from_json(scale.to_json())
    assert np.array_equal(again(values), scale(values))


def test_match_follows_overlap_and_leaves_strangers_new() -> None:
    old = np.array([0] * 10 + [1] * 10 + [2] * 10)
    new = np.array([2] * 9 + [0] * 11 + [1] * 3 + [3] * 7)
    assert clusters.match(old, new, 3, 4) == {2: 0, 0: 1, 3: 2}
    assert clusters.match(old, np.arange(30) % 3, 3, 3, least=0.5) == {}


def test_settle_stays_at_borders_and_moves_when_clearly_nearer() -> None:
    # contact, instant, centre: the first wavers, the second moves, the third is not known at first, the last never
    apart = np.array(
        [[[1.0, 1.2], [1.1, 1.0]], [[1.0, 1.2], [1.2, 0.2]], [[1.0, 9.0], [9.0, 1.0]], [[1.0, 9.0], [9.0, 1.0]]]
    )
    known = np.array([[True, True], [True, True], [False, True], [True, False]])
    assert clusters.settle(apart, known).tolist() == [0, 1, 1, -1]


def test_four_clear_groups_are_stable_and_noise_is_less_so() -> None:
    random = np.random.default_rng(1)
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    clear = corners[np.arange(400) % 4] + random.normal(0, 0.05, (400, 2))
    number, scan = clusters.choose_number(clear, 1)
    assert number == 4
    assert scan[4].low > 0.99
    assert clusters.separation(clear, clusters.nearest(clear, clusters.centres(clear, 4, 1)), 1) > 0.8
    assert clusters.stability(random.random((400, 6)), 7, 1).value < 0.8


def test_order_of_rows_moves_no_centre() -> None:
    random = np.random.default_rng(2)
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    points = corners[np.arange(200) % 4] + random.normal(0, 0.05, (200, 2))
    assert np.allclose(clusters.centres(points, 4, 1), clusters.centres(points[::-1], 4, 1), atol=1e-6)


def test_names_are_unique_words_of_a_marketer() -> None:
    columns = ("recency", "frequency", "value", "open", "click", "interest:/pricing")
    rows = [
        [0.8, 0.8, 0.8, 0.5, 0.5, 0.5],
        [0.2, 0.2, 0.75, 0.5, 0.5, 0.5],
        [0.5, 0.5, 0.5, 0.9, 0.1, 0.5],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.55],
    ]
    told = names(np.array(rows), columns, "contacts")
    assert told[:4] == [
        "Frequent recent high spenders",
        "Occasional lapsed high spenders",
        "Openers who never click",
        "Contacts",
    ]
    assert told[4] == "Contacts, keen on pricing"
