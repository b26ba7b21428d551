"""poolctl: know, and get right, the database connection pool of a Python service.

Nothing heavy is imported here: `import poolctl` runs inside other people's processes.
"""

__version__ = "0.1.0"
