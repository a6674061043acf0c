"""The correction of sigma: its fit, its report and its plots."""
