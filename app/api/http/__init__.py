"""HTTP shared by all protocols: bodies, answers, errors, access, keys."""
