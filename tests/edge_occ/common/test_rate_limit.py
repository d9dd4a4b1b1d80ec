from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.rate_limit import Sparing


def test_the_first_of_a_kind_are_told_and_the_rest_counted():
    told, now = [], [0.0]
    sparing = Sparing(told.append, most=2, seconds=60, clock=lambda: now[0])
    for number in range(5):
        sparing("disk", f"full {number}")
        now[0] += 1
    sparing("camera", "gone")
    assert told == ["full 0", "full 1", "gone"]
    now[0] = 60
    sparing("disk", "full again")
    sparing("disk", "and again")
    assert told[3:] == ["full again (and 3 more like it before)", "and again"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30)), max_size=80), st.integers(1, 4))
def test_no_kind_is_told_more_often_than_allowed_and_none_is_forgotten(messages, most):
    told, now = [], [0.0]
    sparing = Sparing(lambda text: told.append((now[0], text)), most=most, seconds=10, clock=lambda: now[0])
    for kind, pause in messages:
        now[0] += pause
        sparing(kind, kind)
    now[0] += 11
    for kind in "ab":
        sparing(kind, kind)
        times = [time for time, text in told if text.startswith(kind)]
        # No window of the length allowed holds more than one ends with and the next begins with.
        assert all(sum(begun <= time < begun + 10 for time in times) <= 2 * most for begun in times)
        held = sum(int(text.split()[2]) for _, text in told if text.startswith(kind) and "more" in text)
        assert len(times) + held == sum(name == kind for name, _ in messages) + 1
