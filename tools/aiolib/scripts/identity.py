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
"""Users, projects, roles and the catalogue.

In one process of the venv's Python: each call of the `openstack` client would
cost seconds. Arguments: the password of every user, the region.
"""

import sys

import openstack

SERVICES = (
    ('nova', 'compute', 'http://127.0.0.1:8774/v2.1'),
    ('glance', 'image', 'http://127.0.0.1:9292'),
    ('placement', 'placement', 'http://127.0.0.1:8778'),
    ('neutron', 'network', 'http://127.0.0.1:9696'),
    ('cinder', 'volumev3', 'http://127.0.0.1:8776/v3'),
)


def main(password, region):
    identity = openstack.connect(cloud='aio').identity

    def role(name):
        return identity.find_role(name) or identity.create_role(name=name)

    def user(name, project_name, *roles):
        project = (identity.find_project(project_name) or
                   identity.create_project(name=project_name,
                                           domain_id='default'))
        account = (identity.find_user(name) or
                   identity.create_user(name=name, password=password,
                                        domain_id='default',
                                        default_project_id=project.id))
        for name in roles:
            identity.assign_project_role_to_user(project, account, role(name))

    user('service', 'service', 'service', 'admin')
    user('demo', 'demo', 'member', 'reader')

    have = {s.type: s for s in identity.services()}
    endpoints = {(e.service_id, e.interface) for e in identity.endpoints()}
    for name, kind, url in SERVICES:
        service = have.get(kind) or identity.create_service(name=name,
                                                            type=kind)
        for interface in ('public', 'internal', 'admin'):
            if (service.id, interface) not in endpoints:
                identity.create_endpoint(
                    service_id=service.id, interface=interface, url=url,
                    region_id=region)


if __name__ == '__main__':
    main(*sys.argv[1:])
