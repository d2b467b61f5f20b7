"""One file per cohort layout on disk; the file's name is the KIND of --cohort KIND:PATH."""
