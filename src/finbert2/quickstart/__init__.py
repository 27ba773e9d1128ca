"""Every stage, small, through its own script, on the sample data or on a folder of the user's."""
