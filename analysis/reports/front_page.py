"""The page of a study's front, as one file."""

from pathlib import Path

from analysis.figures.front import front_figure
from analysis.figures.history import history_figure
from analysis.reports.page import write_page
from study.records.reading import StudyData


def write_pareto(study: StudyData, path: Path) -> None:
    """Write the two figures as one HTML file that needs nothing else."""
    figures = [front_figure(study).update_layout(height=640), history_figure(study).update_layout(height=360)]
    write_page(path, f"{study.name}: Pareto front", figures)
