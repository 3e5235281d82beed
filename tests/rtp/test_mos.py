import pytest

from gateway.rtp.mos import estimate_mos, mean_opinion_score, r_factor

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(("loss", "score"), [(0.05, 3.86), (0.10, 3.34), (0.20, 2.56)])
def test_loss_at_60_ms_of_delay(loss: float, score: float) -> None:
    assert estimate_mos(loss, 60.0) == pytest.approx(score, abs=0.01)


def test_the_best_call() -> None:
    assert r_factor(0.0, 0.0) == pytest.approx(93.2)
    assert estimate_mos(0.0, 0.0) == pytest.approx(4.41, abs=0.005)


def test_delay_hurts_more_once_it_is_noticed() -> None:
    assert r_factor(0.0, 100.0) == pytest.approx(93.2 - 2.4)
    assert r_factor(0.0, 277.3) == pytest.approx(93.2 - 0.024 * 277.3 - 11.0)


def test_the_score_falls_with_loss_and_stays_in_its_range() -> None:
    scores = [estimate_mos(percent / 100, 150.0) for percent in range(101)]
    assert scores == sorted(scores, reverse=True)
    assert all(1.0 <= score <= 4.5 for score in scores)


def test_nonsense_is_taken_as_the_nearest_sense() -> None:
    assert r_factor(-1.0, -5.0) == pytest.approx(93.2)
    assert r_factor(7.0, 1e9) == 0.0
    assert mean_opinion_score(0.0) == 1.0
    assert mean_opinion_score(120.0) == 4.5
