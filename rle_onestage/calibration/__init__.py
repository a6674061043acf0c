"""The correction of sigma: its fit, its report and its plots."""

from ..modeling.correction import Correction, correct_sigma
from .correction import ConstantSigma, corrected_results, fit_constant, fit_correction
from .fit import calibrate
from .report import format_report, format_summary

__all__ = [
    "ConstantSigma",
    "Correction",
    "calibrate",
    "correct_sigma",
    "corrected_results",
    "fit_constant",
    "fit_correction",
    "format_report",
    "format_summary",
]
