"""HTTP shared by all protocols: requests, answers, errors, access, keys."""
