"""What it means: tables in, fronts, figures and pages out. No torch, no ray."""
