"""Importing the package: nothing heavy, and no name of the user is needed."""

import os
import subprocess
import sys

WITHOUT_A_NAME = """
import pwd
def getpwuid(number):
    raise KeyError("uid not found")
pwd.getpwuid = getpwuid
import lesionforge.detection.networks
"""


def test_a_user_without_a_name_can_import_the_networks():
    names = ("LOGNAME", "USER", "LNAME", "USERNAME")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_NAME],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_the_name_of_a_known_user_stays():
    words = "import os; before = dict(os.environ); import lesionforge; assert os.environ == before"
    subprocess.run([sys.executable, "-c", words], check=True)
