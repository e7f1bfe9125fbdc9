"""The stories: what the platform does from end to end. Read `run_job.py` first."""
