"""Every predictor, in the order in which they run."""

from scoring.predictors.base import Predictor
from scoring.predictors.lead_score import LeadScore
from scoring.predictors.segments import Segments
from scoring.predictors.send_time import SendTime

PREDICTORS: tuple[Predictor, ...] = (LeadScore(), SendTime(), Segments())
