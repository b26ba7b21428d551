"""What is watched or loaded: from a URL, a `module:attribute` or nothing to an engine, its server and its facts.

Knows no load, no capture and no report; the heavy imports (SQLAlchemy, drivers) happen in the functions that need them.
"""
