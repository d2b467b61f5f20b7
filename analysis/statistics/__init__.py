"""What the tables say in numbers: intervals, tests, rankings and attacks."""
