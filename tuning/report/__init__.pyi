from .loggers import LOGGERS as LOGGERS
from .page import write_report as write_report
from .records import best_config as best_config
from .records import to_json as to_json
from .records import write_csv as write_csv
