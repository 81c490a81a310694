"""The model `seer` for lm-evaluation-harness; importing this package registers it."""

from seer_lm_eval.model import SeerLM
from seer_lm_eval.program import SeerError, SeerProgram

__all__ = ["SeerError", "SeerLM", "SeerProgram"]
