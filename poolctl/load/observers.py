"""The observers of a run; they live with the target, as `poolctl diagnose` needs them too."""

from poolctl.target.observers import RingDrainer, ServerObserver

__all__ = ["RingDrainer", "ServerObserver"]
