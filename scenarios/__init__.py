"""The scenarios that come with poolctl: one file each, to run, to copy and to change."""
