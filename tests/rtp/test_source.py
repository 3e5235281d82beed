from random import Random

import pytest

from gateway.rtp.source import SourceStatistics

pytestmark = pytest.mark.pure


def feed(statistics: SourceStatistics, *numbers: int) -> None:
    for number in numbers:
        statistics.received += 1
        statistics.observe(number & 0xFFFF)


def test_nothing_came_yet() -> None:
    statistics = SourceStatistics()
    assert (statistics.lost, statistics.highest_sequence, statistics.report_interval()) == (0, 0, 0)


def test_loss_is_what_the_numbers_promised() -> None:
    statistics = SourceStatistics()
    feed(statistics, 10, 11, 14, 15)
    assert statistics.lost == 2
    assert statistics.highest_sequence == 15


def test_a_straggler_is_not_lost() -> None:
    statistics = SourceStatistics()
    feed(statistics, 10, 12, 11)
    assert statistics.lost == 0


def test_repetitions_hide_loss_as_the_rfc_wants_it() -> None:
    statistics = SourceStatistics()
    feed(statistics, 10, 10, 10)
    assert statistics.lost == -2


@pytest.mark.parametrize("start", [65530, 65535, 0])
def test_wraps_are_counted(start: int) -> None:
    statistics = SourceStatistics()
    feed(statistics, *range(start, start + 70000))
    assert statistics.highest_sequence == start + 69999
    assert statistics.lost == 0


def test_loss_across_a_wrap() -> None:
    statistics = SourceStatistics()
    feed(statistics, 65534, 65536 + 3, 65535)
    assert statistics.highest_sequence == 65539
    assert statistics.lost == 3


def test_a_new_beginning_of_the_numbers_is_no_loss() -> None:
    statistics = SourceStatistics()
    feed(statistics, 10, 11, 13)
    feed(statistics, 30000, 30001)
    assert statistics.lost == 1
    assert statistics.highest_sequence == 30001


def test_each_report_tells_its_own_interval() -> None:
    statistics = SourceStatistics()
    feed(statistics, *(n for n in range(100) if n % 4))
    assert statistics.report_interval() == pytest.approx(256 * 0.25, abs=2)
    feed(statistics, *range(100, 200))
    assert statistics.report_interval() == 0
    assert statistics.report_interval() == 0


def test_any_order_of_nearby_numbers_adds_up() -> None:
    random = Random(5)
    numbers = [n for n in range(65000, 67000) if random.random() > 0.1 or n == 65000]
    for at in range(1, len(numbers) - 8, 8):
        window = numbers[at : at + 8]
        random.shuffle(window)
        numbers[at : at + 8] = window
    statistics = SourceStatistics()
    feed(statistics, *numbers)
    assert statistics.lost == max(numbers) - 65000 + 1 - len(numbers)
