#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


import os

import fixtures
from oslotest import base

from nova_containervm.images import store


class HasTestCase(base.BaseTestCase):

    def test_by_name_alone(self):
        made = store.ImageStore(self.useFixture(fixtures.TempDir()).path)
        self.assertFalse(made.has('a'))
        made.prepare()
        for name in ('a.json', 'b@0123456789ab.json'):
            open(made.path('images', name), 'w').close()
        self.assertEqual(['a', 'b'], [i for i in ('a', 'b', 'ab', 'b@01')
                                      if made.has(i)])
        self.assertEqual(2, len(os.listdir(made.path('images'))))
