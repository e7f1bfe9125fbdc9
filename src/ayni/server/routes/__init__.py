"""The routes of the Hugging Face Hub's API, one file for each capability; each has a table `ROUTES`."""
