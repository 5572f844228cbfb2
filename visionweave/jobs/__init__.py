"""Jobs: a pipeline over files and folders, with its results in a folder."""
