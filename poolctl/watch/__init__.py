"""Watching an application that is not poolctl's own: for a window, from outside, by one of several ways in."""
