"""How a call probably sounded: the E-model of ITU-T G.107, reduced to what a gateway can see.

R starts at 93.2 for a perfect narrow-band call. Mouth-to-ear delay and lost packets are taken off;
what is left maps to a mean opinion score between 1 and 4.5. The loss term assumes G.711 with packet
loss concealment (G.113: Ie = 0, Bpl = 25.1) and losses that fall independently of each other.
"""

_BEST_R = 93.2
_WORST_IMPAIRMENT = 95.0
_LOSS_ROBUSTNESS = 25.1
_NOTICEABLE_DELAY_MS = 177.3


def r_factor(loss: float, delay_ms: float) -> float:
    """The transmission rating R, 0 to 93.2.

    Args:
        loss: share of packets lost or too late, 0 to 1.
        delay_ms: one way, mouth to ear.
    """
    percent = 100.0 * min(max(loss, 0.0), 1.0)
    delay_ms = max(delay_ms, 0.0)
    delay_impairment = 0.024 * delay_ms + 0.11 * max(delay_ms - _NOTICEABLE_DELAY_MS, 0.0)
    loss_impairment = _WORST_IMPAIRMENT * percent / (percent + _LOSS_ROBUSTNESS)
    return min(max(_BEST_R - delay_impairment - loss_impairment, 0.0), _BEST_R)


def mean_opinion_score(r: float) -> float:
    """MOS-CQE of a rating R (G.107 annex B): 1.0 to 4.5."""
    if r <= 0.0:
        return 1.0
    if r >= 100.0:
        return 4.5
    return max(1.0, 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6)


def estimate_mos(loss: float, delay_ms: float) -> float:
    """The score of a G.711 call that lost this share of packets at this one-way delay."""
    return mean_opinion_score(r_factor(loss, delay_ms))
