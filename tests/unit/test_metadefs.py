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

"""Glance's metadata definitions say what the overrides are."""

import json
import pathlib

import ddt
import jsonschema
from oslotest import base

from nova_containervm import conf
from nova_containervm.guest import overrides
from nova_containervm import ops
from nova_containervm import transports

DIRECTORY = (pathlib.Path(__file__).resolve().parents[2] / 'etc' / 'glance' /
             'metadefs')
OVERRIDES = 'compute-containervm.json'
IMAGES = 'compute-containervm-image.json'

# What the definition of a property may hold, in Glance's own schema of a
# namespace (glance.api.v2.metadef_namespaces).
PROPERTY = {
    'type': 'object',
    'required': ['title', 'type', 'description'],
    'properties': {
        'title': {'type': 'string', 'minLength': 1},
        'description': {'type': 'string', 'minLength': 1},
        'type': {'enum': ['boolean', 'integer', 'string']},
        'minimum': {'type': 'number'}, 'maximum': {'type': 'number'},
        'minLength': {'type': 'integer'}, 'maxLength': {'type': 'integer'},
        'pattern': {'type': 'string', 'format': 'regex'},
        'enum': {'type': 'array'}, 'default': {},
    },
    'additionalProperties': False,
}
NAMESPACE = {
    'type': 'object',
    'required': ['namespace', 'display_name', 'description', 'visibility',
                 'resource_type_associations', 'properties'],
    'properties': {
        'namespace': {'type': 'string', 'maxLength': 80},
        'display_name': {'type': 'string', 'maxLength': 80},
        'description': {'type': 'string', 'maxLength': 500},
        'visibility': {'enum': ['public']},
        'protected': {'type': 'boolean'},
        'resource_type_associations': {'type': 'array', 'items': {
            'type': 'object', 'required': ['name'], 'properties': {
                'name': {'type': 'string'},
                'properties_target': {'type': 'string'}}}},
        'properties': {'type': 'object', 'additionalProperties': PROPERTY},
    },
    'additionalProperties': False,
}


def load(name):
    return json.loads((DIRECTORY / name).read_text())


# A value of each property, good and bad, by its definition's means
VALUES = {
    'containervm_workdir': (['/', '/a b'], ['a', '']),
    'containervm_restart_policy': (
        ['no', 'always', 'on-failure', 'on-failure:3', 'unless-stopped'],
        ['never', 'always:3', 'on-failure:', '']),
    'containervm_stop_timeout': ([0, 86400], [-1, 86401]),
    'containervm_tty': ([True, False], []),
    'containervm_read_only': ([True, False], []),
    'containervm_privileged': ([True, False], []),
    'containervm_init': ([True, False], []),
}


@ddt.ddt
class MetadefsTestCase(base.BaseTestCase):

    @ddt.data(OVERRIDES, IMAGES)
    def test_form(self, name):
        jsonschema.validate(load(name), NAMESPACE)

    def test_all_files_are_known(self):
        self.assertEqual({OVERRIDES, IMAGES},
                         {path.name for path in DIRECTORY.iterdir()})

    def test_overrides(self):
        self.assertEqual(
            {overrides.PREFIX + name for name in overrides.OPTIONS},
            set(load(OVERRIDES)['properties']))

    def test_image(self):
        properties = load(IMAGES)['properties']
        self.assertEqual(
            {'containervm_ref', transports.PROPERTY, 'trait:' + ops.TRAIT,
             *('trait:' + trait for trait in transports.TRAITS.values())},
            set(properties))
        self.assertEqual(list(conf.TRANSPORTS),
                         properties[transports.PROPERTY]['enum'])
        for name in properties:
            if name.startswith(overrides.PREFIX):
                self.assertIn(name.removeprefix(overrides.PREFIX),
                              overrides.IGNORED)

    def _parse(self, name, value):
        overrides.parse(image={name: str(value)})

    def test_defaults_are_values(self):
        for name, definition in load(OVERRIDES)['properties'].items():
            if 'default' in definition:
                jsonschema.validate(definition['default'], definition)
                self._parse(name, definition['default'])

    def test_lengths(self):
        """Nova cuts at 255 characters, so that less must be asked for."""
        for name, definition in load(OVERRIDES)['properties'].items():
            if definition['type'] == 'string' and 'pattern' not in definition:
                self.assertLessEqual(definition['maxLength'], 254, name)

    @ddt.data(*sorted(VALUES))
    def test_definition_and_code_agree(self, name):
        definition = load(OVERRIDES)['properties'][name]
        good, bad = VALUES[name]
        for value in good:
            jsonschema.validate(value, definition)
            self._parse(name, value)
        for value in bad:
            self.assertRaises(jsonschema.ValidationError,
                              jsonschema.validate, value, definition)
            self.assertRaises(ValueError, self._parse, name, value)

    def test_constrained_properties_are_tested(self):
        constrained = {
            name for name, d in load(OVERRIDES)['properties'].items()
            if d['type'] != 'string' or {'pattern', 'enum'} & set(d)}
        self.assertEqual(set(VALUES), constrained)
