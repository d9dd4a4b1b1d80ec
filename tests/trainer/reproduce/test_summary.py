"""Means, errors and states of a table."""

import statistics
from dataclasses import replace

import pytest

from trainer.reproduce.summary import mean_and_spread, summarise


def test_mean_and_standard_error():
    values = [0.9, 0.95, 0.97]
    figure = mean_and_spread(values)
    assert figure.value == pytest.approx(100 * statistics.mean(values))
    assert figure.error == pytest.approx(100 * statistics.stdev(values) / 3**0.5)
    assert mean_and_spread([0.5]).error is None
    assert figure.deviation is None


def test_with_deviations_the_error_is_added():
    values = [0.9, 0.95, 0.97]
    figure = mean_and_spread(values, "standard deviation")
    assert figure.deviation == pytest.approx(100 * statistics.stdev(values))
    assert figure.error == pytest.approx(figure.deviation / 3**0.5)
    assert str(figure) == "94.0 ± 3.6 (2.1)"


def test_values_that_are_no_fractions_have_their_own_scale(fake):
    fake.table = replace(fake.table, scales={"auroc": 1})
    entry = summarise(fake.table, fake.run(fake.plan()).statuses).entries["screw"][1]
    values = [fake.value("screw", seed, 2) for seed in range(2)]
    assert entry.figures["auroc"].value == pytest.approx(statistics.mean(values))
    assert entry.figures["auroc"].error == pytest.approx(statistics.stdev(values) / 2**0.5)


def test_entries_average_over_seeds_and_means_over_categories(fake):
    summary = summarise(fake.table, fake.run(fake.plan(seeds=3)).statuses)
    assert summary.categories == ("bottle", "screw")
    assert [row.name for row in summary.rows] == ["fixed", "short", "long"]
    entry = summary.entries["screw"][1]
    values = [fake.value("screw", seed, 2) for seed in range(3)]
    assert entry.figures["auroc"] == mean_and_spread(values)
    assert (entry.asked, entry.done, entry.state, entry.updates, entry.minutes) == (3, 3, "done", 2, 2.0)
    mean = summary.means[1]
    by_seed = [statistics.mean(fake.value(c, seed, 2) for c in summary.categories) for seed in range(3)]
    assert mean.figures["auroc"].value == pytest.approx(100 * statistics.mean(by_seed))
    assert mean.figures["auroc"].error == pytest.approx(100 * statistics.stdev(by_seed) / 3**0.5)


def test_a_mean_is_never_over_some_of_the_categories(fake, wrong):
    fake.events["screw", 1, 2] = wrong
    fake.events["screw", 0, 3] = wrong
    fake.events["screw", 1, 3] = wrong
    summary = summarise(fake.table, fake.run(fake.plan()).statuses)
    _, short, long = summary.means
    expected = 50 * (fake.value("bottle", 0, 2) + fake.value("screw", 0, 2))
    assert short.figures["auroc"].value == pytest.approx(expected)
    assert (short.done, short.asked, short.state) == (1, 2, "failed")
    assert (long.figures, long.done, long.state, long.updates, long.minutes) == ({}, 0, "failed", None, None)


def test_a_value_that_is_undefined_for_one_seed_gives_no_mean(fake):
    outcome = fake.run(fake.plan())
    changed = []
    for status in outcome.statuses:
        result = status.result.model_copy(update={"values": {"auroc": None if status.cell.seed else 0.5}})
        changed.append(type(status)(status.cell, "done", result))
    summary = summarise(fake.table, changed)
    assert all(entry.figures == {} and entry.done == 2 for entry in summary.means)
