# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

project = 'nova-containervm'
copyright = 'OpenStack contributors'

extensions = [
    'openstackdocstheme',
    'sphinx.ext.graphviz',
    'sphinx_feature_classification.support_matrix',
    'cliff.sphinxext',
    'oslo_config.sphinxext',
    'oslo_config.sphinxconfiggen',
]

config_generator_config_file = [(
    '../../etc/nova-containervm/nova-containervm-config-generator.conf',
    '_static/nova-containervm',
)]

master_doc = 'index'
exclude_patterns = []
pygments_style = 'native'

graphviz_output_format = 'svg'

html_theme = 'openstackdocs'
html_static_path = ['_static']
openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_repo_name = 'openstack/nova-containervm'
openstackdocs_use_storyboard = False
