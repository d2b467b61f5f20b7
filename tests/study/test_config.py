from dataclasses import replace
from pathlib import Path

from study.records.command_lines import config_of
from study.records.settings import StudySettings
from study.run import read_config


def test_the_file_of_a_study_gives_its_settings_without_its_name(tmp_path):
    settings = StudySettings(
        space="mechanics",
        knobs=("lr=1e-4..1e-3", "forget=ascent"),
        constraint=("seconds<=600",),
        forget="007,008",
        label_map="it's: a #file.csv",
        baseline_lr=1e-5,
        gpus_per_trial=0.25,
        cpus_per_trial="auto",
        enqueue=False,
        name="mine",
        studies=Path("/elsewhere"),
        verbose=True,
    )
    file = tmp_path / "study.yaml"
    file.write_text(config_of(settings))
    assert read_config(file) == replace(settings, name="", studies=StudySettings().studies, verbose=False)
    file.write_text(config_of(StudySettings()))
    assert read_config(file) == StudySettings()
