"""What a study writes down: tables first, then MLflow."""
