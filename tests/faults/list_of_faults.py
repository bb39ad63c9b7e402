"""All faults, as data: importing a file of them puts them on the list."""

from tests.faults import faults_of_parts, faults_of_requests, training_faults
from tests.faults.fault import FAULTS, Fault, restart

__all__ = ["FAULTS", "Fault", "restart"]
FILES = (faults_of_parts, faults_of_requests, training_faults)
