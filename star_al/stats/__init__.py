"""Statistics without side effects: metrics, calibration, stopping rules, learning curves."""
