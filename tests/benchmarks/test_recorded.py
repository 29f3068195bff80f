"""The measurement of recorded rows runs whole on made-up images."""

from benchmarks.recorded import measure


def test_an_epoch_has_one_record() -> None:
    """From the last epoch of the warm-up on; shares lie in [0, 1], and ages grow."""
    first, second = measure("noise", pool=64, validation=8, share=0.1, epochs=2, warmup=1, steps=1, interval=5, seed=0)
    assert (first["age"], second["age"]) == (0, 1 - 6 / 64)
    assert all(0 <= r["overlap"] <= 1 and r["gain"] <= 1 + 1e-9 for r in (first, second))
    assert all(r["cost"] > 0 and r["seconds"] > 0 for r in (first, second))
