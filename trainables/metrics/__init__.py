"""One metric per file, collected by name as retain_<m>, forget_<m>, heldout_<m>; METRIC says how to read it."""
