"""The Pareto front's pages, inside the MLflow server."""
