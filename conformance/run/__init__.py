"""How a run goes under pytest: selection, runner, recorder, workers, reproducing scripts."""
