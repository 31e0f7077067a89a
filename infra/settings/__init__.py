"""The settings of every process: declared, read from environment variables, and described for operators."""

from infra.settings.addresses import split_address
from infra.settings.description import describe
from infra.settings.settings import Settings
from infra.settings.variables import BadSetting, variable

__all__ = ["BadSetting", "Settings", "describe", "split_address", "variable"]
