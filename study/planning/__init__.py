"""What will run: the settings checked against space and cohort, deletion requests, pseudonyms."""
