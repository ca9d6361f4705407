# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""Counts its visits in a file."""

import pathlib
import signal
import sys

import flask
import waitress

FILE = pathlib.Path('/data/visits')
app = flask.Flask(__name__)


@app.route('/')
def visit():
    visits = 1 + (int(FILE.read_text()) if FILE.exists() else 0)
    FILE.write_text(str(visits))
    return f'visit {visits}\n'


def stop(_number, _frame):
    print('bye')
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
print('listening')
waitress.serve(app, listen='0.0.0.0:8000')
